/** One honest picture: who can read what, on its way through the relay. */

const ALT =
  "Your question leaves the browser as a sealed envelope, passes the relay, and is opened by the compute " +
  "node; the answer comes back the same way. The relay sees the envelope from outside only: your address, " +
  "the time, the size, and which model and node. The node reads the text.";

interface Box {
  x: number;
  y: number;
  title: string;
  lines: string[];
  kind: "open" | "blind";
}

const WORDS: Omit<Box, "x" | "y">[] = [
  { title: "Your browser", lines: ["reads and writes", "keeps the key"], kind: "open" },
  { title: "This relay", lines: ["sees who, when, how much", "cannot read the text"], kind: "blind" },
  { title: "Compute node", lines: ["reads your text", "to answer it"], kind: "open" },
];

export function Picture() {
  return (
    <div class="picture">
      <Wide />
      <Tall />
    </div>
  );
}

function Wide() {
  const boxes = WORDS.map((one, at) => ({ ...one, x: 4 + at * 264, y: 24 }));
  return (
    <svg class="wide" viewBox="0 0 740 152" role="img" aria-label={ALT}>
      {boxes.map((one) => <Station {...one} />)}
      {[208, 472].map((x) => (
        <g>
          <path class="way" d={`M${x + 4} 60h48m-7-6 7 6-7 6`} />
          <path class="way" d={`M${x + 52} 112h-48m7-6-7 6 7 6`} />
          <Envelope x={x + 17} y={35} />
          <Envelope x={x + 17} y={87} />
        </g>
      ))}
    </svg>
  );
}

function Tall() {
  const ways = [78, 200];
  return (
    <svg class="tall" viewBox="0 0 320 324" role="img" aria-label={ALT}>
      {WORDS.map((one, at) => <Row {...one} y={4 + at * 122} />)}
      {ways.map((y) => (
        <g>
          <path class="way" d={`M118 ${y + 2}v40m-6-7 6 7 6-7`} />
          <path class="way" d={`M202 ${y + 42}v-40m-6 7 6-7 6 7`} />
          <Envelope x={84} y={y + 14} />
          <Envelope x={214} y={y + 14} />
        </g>
      ))}
    </svg>
  );
}

function Row({ y, title, lines, kind }: Omit<Box, "x">) {
  return (
    <g class={`station ${kind}`} transform={`translate(4 ${y})`}>
      <rect width="312" height="72" rx="16" />
      <Eye open={kind === "open"} x={22} y={24} />
      <text x="66" y="27" class="title">{title}</text>
      {lines.map((line, at) => <text x="66" y={45 + at * 16}>{line}</text>)}
    </g>
  );
}

function Station({ x, y, title, lines, kind }: Box) {
  return (
    <g class={`station ${kind}`} transform={`translate(${x} ${y})`}>
      <rect width="204" height="112" rx="16" />
      <Eye open={kind === "open"} x={90} y={14} />
      <text x="102" y="58" class="title">{title}</text>
      {lines.map((line, at) => <text x="102" y={80 + at * 17}>{line}</text>)}
    </g>
  );
}

function Eye({ open, x, y }: { open: boolean; x: number; y: number }) {
  return (
    <g class="eye" transform={`translate(${x} ${y})`}>
      <path d="M0 12q12-13 24 0q-12 13-24 0z" />
      <circle cx="12" cy="12" r="3.5" />
      {!open && <path d="M2 1 22 23" />}
    </g>
  );
}

function Envelope({ x, y }: { x: number; y: number }) {
  return (
    <g class="envelope" transform={`translate(${x} ${y})`}>
      <rect width="22" height="15" rx="2.5" />
      <path d="M1.5 2.5 11 9.5l9.5-7" />
    </g>
  );
}
