import { Picture } from "./picture";

/** What the relay is, and what it can and cannot see. */
export function How() {
  return (
    <article class="page prose">
      <h1>What this relay is, and what it sees</h1>
      <p class="lead">
        A relay brings people who want to use a language model together with people who let theirs be
        used. It passes sealed envelopes between this page and a compute node. It has no model itself,
        and keeps no conversation.
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
            <li>how far the answer is: progress is sealed too</li>
            <li>your key: it is made new for each conversation, and never leaves this page</li>
          </ul>
        </section>
      </div>
      <h2>The compute node reads your text</h2>
      <p>
        It has to, in order to answer. It is a computer of someone else: do not tell it what you would
        not tell its owner. One conversation stays with one node while that node serves.
      </p>
      <h2>What this does not protect you from</h2>
      <ul>
        <li>
          <strong>A relay that lies about keys.</strong> It names the node's key to you, so a dishonest
          relay could name one of its own and read along. Compare the fingerprint, shown below each
          answer, with one that the node's owner gave you by another way.
        </li>
        <li>
          <strong>A relay that serves another page.</strong> This page comes from the relay, too. Its
          source is public, and a page of your own can use any relay.
        </li>
        <li>
          <strong>Forged answers.</strong> The protocol has no signatures: whoever passes your envelopes
          on could seal an answer of their own. What is sealed for another request is refused.
        </li>
      </ul>
      <h2>What this page keeps</h2>
      <p>
        The conversation and its key are in the memory of this tab only: closing the tab forgets them.
        The browser keeps your choice of model, context size and colours, and, until the tab is
        closed, the question that you have not sent yet.
      </p>
    </article>
  );
}
