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
  label { display: grid; grid-template-columns: minmax(0, 1fr); gap: .2rem; font-size: .8rem; font-weight: 600; color: var(--muted); }
  label > * { font-weight: 400; font-size: .95rem; color: var(--text); }
`;

/** What the views of a cloud have in common: a head with actions, tables, forms, cards. */
export const screens = css`
  a { color: var(--accent); }
  code { overflow-wrap: anywhere; }
  .head { display: flex; gap: .5rem .7rem; align-items: center; flex-wrap: wrap; margin-bottom: .8rem; }
  .head h2 { margin-right: auto; }
  h2 { font-size: 1.2rem; }
  h3 { font-size: 1rem; margin-bottom: .5rem; }
  section + section { margin-top: 1.5rem; }
  section > h2 { margin-bottom: .6rem; }
  .scroll + .head { margin-top: .8rem; }
  .head select, .head input { width: auto; }
  .check { display: flex; align-items: center; gap: .4rem; font-size: .9rem; }
  .check input, td input[type=checkbox] { width: auto; min-height: 0; }
  .button { display: inline-flex; align-items: center; border: 1px solid var(--line); border-radius: 9px; padding: .4rem .75rem; min-height: 2.4rem; text-decoration: none; color: inherit; font-weight: 600; background: var(--surface); }
  .button:hover { background: var(--surface-2); }
  .error { color: var(--bad); background: var(--bad-soft); padding: .5rem .8rem; border-radius: 9px; margin-bottom: .8rem; overflow-wrap: anywhere; white-space: pre-line; }
  .done { color: var(--ok); margin-bottom: .8rem; overflow-wrap: anywhere; }
  .empty { color: var(--muted); padding: 1.6rem 1rem; text-align: center; border: 1px dashed var(--line); border-radius: var(--radius); }
  p + .empty { margin-top: .6rem; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; width: 100%; font-size: .92rem; }
  th, td { text-align: left; padding: .5rem .8rem; border-top: 1px solid var(--line); vertical-align: middle; }
  thead th { border-top: none; font-size: .78rem; color: var(--muted); font-weight: 600; white-space: nowrap; }
  td.end { text-align: right; white-space: nowrap; }
  td button { min-height: 2rem; padding: .15rem .6rem; }
  td select { width: auto; min-height: 2rem; padding: .15rem .5rem; }
  form.fields { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: .7rem; align-items: end; }
  form.fields .wide { grid-column: 1 / -1; }
  textarea { font: 400 .95rem/1.45 var(--font); color: inherit; width: 100%; border: 1px solid var(--line); border-radius: 9px; background: var(--surface); padding: .5rem .75rem; min-height: 4.5rem; resize: vertical; }
  details.panel { padding: .8rem 1rem; margin: .8rem 0; }
  details.panel > summary { cursor: pointer; font-weight: 600; }
  details.panel > :nth-child(2) { margin-top: .8rem; }
  .box { padding: 1rem 1.1rem; margin-bottom: .8rem; }
  .secret { display: block; padding: .6rem .8rem; background: var(--surface-2); border-radius: 9px; overflow-wrap: anywhere; user-select: all; font-family: ui-monospace, monospace; font-size: .85rem; }
`;
