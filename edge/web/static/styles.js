// Styles that several components share.
import { css } from './vendor/lit/lit.js';

export const base = css`
  :host { display: block; }
  :host([hidden]) { display: none; }
  * { box-sizing: border-box; }
  h1, h2, h3, p, ul, dl, dd { margin: 0; padding: 0; }
  ul { list-style: none; }
  .muted { color: var(--muted); }
  .small { font-size: .85rem; }
  .nums { font-variant-numeric: tabular-nums; }
  .visually-hidden {
    position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
  }
  :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
  .panel {
    background: var(--surface); border: 1px solid var(--line); border-radius: var(--radius); box-shadow: var(--shadow);
  }
  .badge {
    display: inline-block; padding: 0 .5em; border-radius: 99px; font-size: .75rem; line-height: 1.6; font-weight: 600;
    background: var(--surface-2); color: var(--muted); white-space: nowrap;
  }
  .badge.warn { background: var(--warn-soft); color: var(--warn); }
  .badge.bad { background: var(--bad-soft); color: var(--bad); }
  .badge.ok { background: var(--accent-soft); color: var(--accent); }
`;

export const controls = css`
  button, select, input {
    font: inherit; color: inherit; border: 1px solid var(--line); border-radius: 9px; background: var(--surface);
    padding: .4rem .75rem; min-height: 2.4rem; max-width: 100%;
  }
  input, select { width: 100%; }
  button { cursor: pointer; font-weight: 600; white-space: nowrap; }
  button:hover { background: var(--surface-2); }
  button.primary { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
  button.primary:hover { filter: brightness(1.08); }
  button:disabled { opacity: .55; cursor: default; }
  label { display: grid; gap: .2rem; font-size: .8rem; font-weight: 600; color: var(--muted); }
  label > * { font-weight: 400; font-size: .95rem; color: var(--text); }
`;
