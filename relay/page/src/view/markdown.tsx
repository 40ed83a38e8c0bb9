/**
 * Answers as Markdown, safely: a parser makes tokens, and this makes elements of them. No HTML is
 * ever parsed, so what a node writes as HTML is shown as the text that it is. No image is loaded.
 */

import { Lexer } from "marked";
import type { Token, Tokens } from "marked";
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";

import { CodeBlock } from "./code";

/** Past this an answer is shown as plain text: laying it out would make the page slow. */
export const MAX_MARKDOWN = 60_000;
/** Past this the rest is only in the copy and in the saved file. */
export const MAX_SHOWN = 200_000;
const MAX_DEPTH = 20;

export function Markdown({ text }: { text: string }) {
  return useMemo(() => (text.length > MAX_MARKDOWN ? plain(text) : rich(text)), [text]);
}

function rich(text: string) {
  try {
    return <div class="prose">{blocks(new Lexer({ gfm: true, breaks: true }).lex(text), 0)}</div>;
  } catch {
    // Nested beyond what the parser can follow.
    return plain(text);
  }
}

function plain(text: string) {
  const left = text.length - MAX_SHOWN;
  return (
    <div class="prose">
      <pre class="plain">{text.slice(0, MAX_SHOWN)}</pre>
      {left > 0 && (
        <p class="note">
          {left.toLocaleString("en")} more characters are not shown. “Copy” and “Save” have all of them.
        </p>
      )}
    </div>
  );
}

function blocks(tokens: Token[], depth: number): ComponentChildren {
  return tokens.map((token) => block(token, depth));
}

function block(token: Token, depth: number): ComponentChildren {
  if (depth > MAX_DEPTH) return <p>{token.raw}</p>;
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      return heading(token as Tokens.Heading, depth);
    case "code":
      return <CodeBlock text={token["text"]} language={String(token["lang"] ?? "")} />;
    case "blockquote":
      return <blockquote>{blocks(token.tokens ?? [], depth + 1)}</blockquote>;
    case "list":
      return list(token as Tokens.List, depth);
    case "table":
      return table(token as Tokens.Table, depth);
    case "hr":
      return <hr />;
    case "paragraph":
      return <p>{inlines(token.tokens ?? [], depth)}</p>;
    case "html":
      return <p class="literal">{token.raw.trim()}</p>;
    default:
      return inline(token, depth);
  }
}

/** The page itself has the three highest levels. */
function heading(token: Tokens.Heading, depth: number) {
  const Level = `h${Math.min(6, token.depth + 3)}` as "h4";
  return <Level>{inlines(token.tokens, depth)}</Level>;
}

function list(token: Tokens.List, depth: number) {
  const items = token.items.map((item) => <li>{blocks(item.tokens, depth + 1)}</li>);
  return token.ordered ? <ol start={Number(token.start) || 1}>{items}</ol> : <ul>{items}</ul>;
}

function table(token: Tokens.Table, depth: number) {
  const side = (cell: Tokens.TableCell) => (cell.align ? `to-${cell.align}` : undefined);
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="Table">
      <table>
        <thead>
          <tr>{token.header.map((one) => <th class={side(one)}>{inlines(one.tokens, depth)}</th>)}</tr>
        </thead>
        <tbody>
          {token.rows.map((row) => (
            <tr>{row.map((one) => <td class={side(one)}>{inlines(one.tokens, depth)}</td>)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function inlines(tokens: Token[], depth: number): ComponentChildren {
  return tokens.map((token) => inline(token, depth + 1));
}

function inline(given: Token, depth: number): ComponentChildren {
  const token = given as Tokens.Generic;
  const inside = (): ComponentChildren =>
    token.tokens && depth <= MAX_DEPTH
      ? inlines(token.tokens, depth)
      : decode(String(token["text"] ?? token.raw));
  switch (token.type) {
    case "strong":
      return <strong>{inside()}</strong>;
    case "em":
      return <em>{inside()}</em>;
    case "del":
      return <del>{inside()}</del>;
    case "codespan":
      return <code>{token["text"]}</code>;
    case "br":
      return <br />;
    case "checkbox":
      return <input type="checkbox" checked={Boolean(token["checked"])} disabled aria-label={token["checked"] ? "done" : "not done"} />;
    case "html":
      return token.raw;
    case "link":
      return <Link href={String(token["href"])}>{inside()}</Link>;
    case "image":
      return <Link href={String(token["href"])}>Image: {decode(String(token["text"])) || String(token["href"])}</Link>;
    default:
      return inside();
  }
}

/** Only addresses that cannot run anything; others stay text. */
function Link({ href, children }: { href: string; children: ComponentChildren }) {
  const target = safeAddress(href);
  if (!target) return <span class="literal">{children} ({href})</span>;
  return (
    <a href={target} title={target} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}

export function safeAddress(href: string): string | null {
  try {
    const url = new URL(href);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

const NAMED: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };

/** The few character references that models write. */
function decode(text: string): string {
  return text.replace(/&(?:#(\d{1,6})|(\w{2,6}));/g, (whole, code?: string, name?: string) =>
    code ? String.fromCodePoint(Math.min(Number(code), 0x10ffff) || 0xfffd) : (NAMED[name!] ?? whole),
  );
}
