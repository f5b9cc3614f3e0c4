// <headcount-ask>: a question in plain words to the model that the cloud is configured with, and
// what the model looked at to answer it.
import { css, html, nothing } from './vendor/lit/lit.js';
import { clock, title } from './format.js';
import { Screen } from './screen.js';
import { session } from './session.js';

class HeadcountAsk extends Screen {
  static properties = { sites: { state: true }, asked: { state: true }, reply: { state: true } };

  static styles = [Screen.styles, css`
    .answer { white-space: pre-line; overflow-wrap: anywhere; font-size: 1.05rem; }
    .box ul { margin-top: .8rem; display: grid; gap: .3rem; }
    h3 { overflow-wrap: anywhere; }
  `];

  async fetch() { this.sites = (await this.get(`v1/sites${session.orgs.length > 1 ? `?org=${encodeURIComponent(session.org)}` : ''}`)).sites ?? []; }

  render() {
    return html`<div class="head"><h2>Ask</h2></div>${this.said()}
      <form class="fields panel box" aria-label="Ask" @submit=${(e) => this.ask(e)}>
        <label class="wide">Question about what you may see<textarea name="question" required maxlength="2000" placeholder="Which room was used most this week?"></textarea></label>
        <label>Site<select name="site"><option value="">all of them</option>${(this.sites ?? []).map((s) => html`<option value=${s.id}>${title(s)}</option>`)}</select></label>
        <button class="primary" ?disabled=${this.busy}>${this.busy ? 'Asking…' : 'Ask'}</button></form>
      ${this.reply ? this.answer(this.reply) : html`<p class="muted small">A model answers, with read-only tools that see what you may see. It can be wrong: what it looked at is shown below the answer.</p>`}`;
  }

  ask(e) {
    e.preventDefault();
    const { question, site } = Object.fromEntries(new FormData(e.target));
    this.reply = null;
    return this.act(async () => {
      this.reply = await this.post('v1/agent/ask', { question, ...(site && { site }) });
      this.asked = question;
    });
  }

  answer(r) {
    return html`<section class="panel box" aria-live="polite"><h3>${this.asked}</h3>${r.known ? nothing : html`<p><span class="badge warn">nothing was known</span></p>`}<p class="answer">${r.answer}</p>
      ${r.citations?.length ? html`<ul>${r.citations.map((c) => html`<li class="small"><strong>${c.tool.replaceAll('_', ' ')}</strong> <span class="muted">${Object.entries(c.arguments ?? {}).map(([k, v]) => `${k} ${v}`).join(', ')}${c.as_of ? `, as of ${clock(c.as_of)}` : ''}${c.error ? `: ${c.error}` : ''}</span>
        ${(c.links ?? []).map((l) => html` <a href=${l.replace(/^\//, '')} target="_blank" rel="noopener">${l}</a>`)}</li>`)}</ul>` : html`<p class="muted small">The model looked at nothing.</p>`}</section>`;
  }
}

customElements.define('headcount-ask', HeadcountAsk);
