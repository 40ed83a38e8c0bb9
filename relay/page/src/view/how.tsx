import { Picture } from "./picture";

/** The page about the relay, and about what it can and cannot see. */
export function How() {
  return (
    <article class="page prose">
      <h1>This relay, and what it can see</h1>
      <p class="lead">
        A relay connects people who want to use a language model with people who share theirs. It
        passes encrypted envelopes between this page and a compute node. It has no model itself, and
        stores no conversation.
      </p>
      <Picture />
      <div class="columns">
        <section>
          <h2>The relay sees</h2>
          <ul>
            <li>the address that you connect from</li>
            <li>when you ask, and how large question and answer are</li>
            <li>the model and context size that you choose</li>
            <li>which compute node answers, and how long it takes</li>
          </ul>
        </section>
        <section>
          <h2>The relay does not see</h2>
          <ul>
            <li>what you ask, and what is answered</li>
            <li>the progress of the answer: it is encrypted too</li>
            <li>your key: each conversation has its own, which never leaves this page</li>
          </ul>
        </section>
      </div>
      <h2>The compute node reads your text</h2>
      <p>
        The compute node must decrypt your text to answer. It is another person's computer: do not send
        it anything that its owner must not read. A conversation stays with one node as long as that
        node is available.
      </p>
      <h2>Limits of the protection</h2>
      <ul>
        <li>
          <strong>A relay that sends false keys.</strong> The relay gives you the node's key, so a dishonest
          relay could send a key of its own and read everything. Compare the fingerprint, shown below
          each answer, with the one that the node's owner gave you by another channel.
        </li>
        <li>
          <strong>A relay that serves a modified page.</strong> This page comes from the relay, too. Its
          source is public, and a page that you host yourself can use any relay.
        </li>
        <li>
          <strong>Forged answers.</strong> The protocol has no signatures: a relay or proxy could encrypt an
          answer of its own. An answer to another request is rejected.
        </li>
      </ul>
      <h2>Data that this page stores</h2>
      <p>
        The conversation and its key are in the memory of this tab only: closing the tab deletes them.
        The browser stores your choice of model, context size and colours, and, until the tab is
        closed, the question that you have not sent yet.
      </p>
    </article>
  );
}
