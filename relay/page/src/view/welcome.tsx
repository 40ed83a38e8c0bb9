import { Picture } from "./picture";

const STARTS = [
  "Explain end-to-end encryption to a curious child.",
  "Write a Python function that finds duplicate files.",
  "Plan three simple dinners from what is in season.",
];

export function Welcome({ pick }: { pick(text: string): void }) {
  return (
    <section class="welcome" aria-labelledby="welcome">
      <h2 id="welcome">Ask a model on another person’s computer, encrypted end to end.</h2>
      <p class="lead">
        This browser encrypts your text for one compute node. The relay in between passes it on and
        cannot read it. See <a href="#how">what the relay sees</a>.
      </p>
      <Picture />
      <ul class="starts" aria-label="Examples">
        {STARTS.map((text) => (
          <li><button type="button" onClick={() => pick(text)}>{text}</button></li>
        ))}
      </ul>
    </section>
  );
}
