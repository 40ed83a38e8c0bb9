import { CodeBlock } from "./code";
import { DEFAULT_MODEL } from "../chat/settings";

/** Commands with this relay's own address. */
export function Connect({ origin }: { origin: string }) {
  return (
    <article class="page prose">
      <h1>Connect to this relay</h1>
      <h2>Let others use your computer's model</h2>
      <p>
        In a clone of token.place, start its compute node with the address of this relay. It only
        makes connections outwards: no port has to be opened.
      </p>
      <CodeBlock language="sh" text={`python server.py --relay_url ${origin}`} />
      <p>
        A relay may ask compute nodes for a token. Its operator gives it to you; set it
        as <code>TOKEN_PLACE_RELAY_SERVER_TOKEN</code> before you start the node.
      </p>
      <h2>Use it from a program</h2>
      <p>
        The relay supports the OpenAI client. Mind the difference: here the relay encrypts the request
        for you, so <strong>the relay itself can read it</strong>. Use this with a relay of your own,
        or for text that anyone may read.
      </p>
      <CodeBlock language="python" text={python(origin)} />
      <CodeBlock language="sh" text={curl(origin)} />
      <p>An operator can turn this off; calls then get an error with this reason.</p>
      <h2>Check that it works</h2>
      <p>This sends one encrypted request through the relay and back, and shows each step.</p>
      <CodeBlock language="sh" text={`tokenplace-relay probe ${origin}`} />
      <h2>Check the relay</h2>
      <ul>
        <li><a href="/healthz">Health</a>: readiness, and the number of registered nodes</li>
        <li><a href="/api/v1/version">Version</a>: the running release</li>
        <li><a href="/relay/diagnostics">Diagnostics</a>: its compute nodes and their load</li>
      </ul>
    </article>
  );
}

function python(origin: string): string {
  return [
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url="${origin}/api/v1", api_key="none")`,
    "answer = client.chat.completions.create(",
    `    model="${DEFAULT_MODEL}",`,
    '    messages=[{"role": "user", "content": "Hello"}],',
    ")",
    "print(answer.choices[0].message.content)",
  ].join("\n");
}

function curl(origin: string): string {
  const body = `{"model": "${DEFAULT_MODEL}", "messages": [{"role": "user", "content": "Hello"}]}`;
  return [
    `curl ${origin}/api/v1/chat/completions \\`,
    "  --header 'Content-Type: application/json' \\",
    `  --data '${body}'`,
  ].join("\n");
}
