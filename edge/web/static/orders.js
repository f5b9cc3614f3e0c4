// <headcount-orders>: the work orders that the caller may see, as a board by state or as a list,
// and the form that opens one.
import { css, html, nothing, repeat } from './vendor/lit/lit.js';
import { duration, join, some, title } from './format.js';
import { Screen, members } from './screen.js';
import { session } from './session.js';

export const stateNames = {
  draft: 'Draft', open: 'Open', acknowledged: 'Acknowledged', in_progress: 'In progress', waiting_approval: 'Waiting for approval', approved: 'Approved',
  rejected: 'Rejected', resolved: 'Resolved', closed: 'Closed', reopened: 'Reopened', postponed: 'Postponed',
};
export const priorities = ['urgent', 'high', 'medium', 'low'];
const always = ['open', 'in_progress', 'resolved']; // columns that are shown empty, too
const tone = { urgent: 'bad', high: 'warn' };

export const priorityBadge = (o) => html`<span class="badge ${tone[o.priority] ?? ''}">${o.priority}</span>`;

/** When an order is due, in words; empty when it never is. */
export function due(o) {
  if (o.paused) return 'clock stopped';
  if (o.due_in == null) return '';
  return o.due_in < 0 ? `${duration(-o.due_in)} late` : `due in ${duration(o.due_in)}`;
}

class HeadcountOrders extends Screen {
  static properties = { columns: { state: true }, list: { state: true }, asList: { state: true }, adding: { state: true }, sites: { state: true }, spaces: { state: true }, summary: { state: true } };

  static styles = [Screen.styles, css`
    .board { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(15rem, 1fr); gap: .8rem; overflow-x: auto; padding-bottom: .5rem; align-items: start; }
    .column.column { margin: 0; }
    .column { background: var(--surface-2); border-radius: var(--radius); padding: .7rem; display: grid; gap: .5rem; }
    .column h3 { margin: 0; display: flex; justify-content: space-between; }
    .card { display: grid; gap: .25rem; padding: .7rem .8rem; color: inherit; text-decoration: none; overflow-wrap: anywhere; }
    .card:hover { border-color: var(--accent); }
    .card .title { font-weight: 600; }
    .row { display: flex; gap: .4rem; justify-content: space-between; align-items: center; flex-wrap: wrap; }
    .late { color: var(--bad); font-weight: 600; }
    .filters { display: flex; gap: .5rem; flex-wrap: wrap; margin-bottom: .8rem; }
    .filters > * { width: auto; flex: 0 1 12rem; }
    .new { padding: 1rem 1.1rem; margin-bottom: .8rem; }
    td a { font-weight: 600; }
    @media (max-width: 700px) { .board { grid-auto-flow: row; grid-auto-columns: auto; } }
  `];

  follows = 'workorder.';
  filter = { q: '', assignee: '', priority: '' };

  async fetch() {
    const q = new URLSearchParams(Object.entries(this.filter).filter(([, v]) => v));
    if (session.orgs.length > 1) q.set('org', session.org);
    const [answer, summary, people] = await Promise.all([
      this.get(this.asList ? `v1/work-orders?limit=200&${q}` : `v1/work-orders/board?${q}`),
      this.get(`v1/work-orders/summary?${q}`), this.people ?? members(session.org)]);
    this.people = people;
    this.summary = summary;
    if (this.asList) [this.list, this.more] = [answer.work_orders, answer.next];
    else this.columns = answer.columns;
  }

  set(name, value) {
    this.filter = { ...this.filter, [name]: value };
    this.load();
  }

  render() {
    const s = this.summary;
    return html`<div class="head"><h2>Work orders ${s ? html`<span class="badge">${some(s.open, 'open', 'open')}</span> ${s.overdue ? html`<span class="badge bad">${s.overdue} overdue</span>` : nothing}` : nothing}</h2>
        <button aria-pressed=${Boolean(this.asList)} @click=${() => { this.asList = !this.asList; this.load(); }}>${this.asList ? 'Board' : 'List'}</button>
        ${session.mayHere('operator') ? html`<button class="primary" @click=${() => this.begin()}>New work order</button>` : nothing}</div>
      ${this.said()}${this.adding ? this.form() : nothing}
      <div class="filters" role="search">
        <input type="search" placeholder="Search" aria-label="Search" @change=${(e) => this.set('q', e.target.value)}>
        <select aria-label="Assigned to" @change=${(e) => this.set('assignee', e.target.value)}><option value="">anybody's</option><option value="me">mine</option><option value="none">nobody's</option></select>
        <select aria-label="Priority" @change=${(e) => this.set('priority', e.target.value)}><option value="">any priority</option>${priorities.map((p) => html`<option>${p}</option>`)}</select>
      </div>
      ${this.asList ? this.table() : this.board()}`;
  }

  board() {
    if (!this.columns) return this.waiting();
    const shown = this.columns.filter((c) => c.count || always.includes(c.state));
    return html`<div class="board">${shown.map((c) => html`<section class="column" aria-label=${stateNames[c.state]}>
      <h3>${stateNames[c.state]} <span class="muted">${c.count}</span></h3>${repeat(c.cards, (o) => o.id, (o) => this.card(o))}
      ${c.count > c.cards.length ? html`<p class="muted small">and ${c.count - c.cards.length} older ones: see the list</p>` : nothing}</section>`)}</div>`;
  }

  card(o) {
    return html`<a class="card panel" href="#/orders/${o.id}"><span class="row"><span class="muted small">${o.number || 'draft'}</span>${priorityBadge(o)}</span>
      <span class="title">${o.title}</span><span class="row small"><span class="muted">${join(o.site, o.space, this.name(o.assignee))}</span><span class=${o.overdue ? 'late' : 'muted'}>${due(o)}</span></span></a>`;
  }

  table() {
    if (!this.list) return this.waiting();
    if (!this.list.length) return html`<p class="empty">No work order is like that.</p>`;
    return html`<div class="panel scroll"><table><thead><tr><th>Number</th><th>What</th><th>State</th><th>Priority</th><th>Where</th><th>Who</th><th>Due</th></tr></thead>
      <tbody>${this.list.map((o) => html`<tr><td class="nums">${o.number || 'draft'}</td><td><a href="#/orders/${o.id}">${o.title}</a></td><td>${stateNames[o.state]}</td><td>${priorityBadge(o)}</td>
        <td>${join(o.site, o.space)}</td><td>${this.name(o.assignee)}</td><td class=${o.overdue ? 'late' : ''}>${due(o)}</td></tr>`)}</tbody></table></div>
      ${this.more ? html`<p class="muted small">There are older ones: search for them.</p>` : nothing}`;
  }

  name(id) {
    if (!id) return '';
    const u = this.people?.get(id);
    return u ? title({ name: u.name, id: u.email ?? id }) : 'somebody';
  }

  form() {
    const domains = session.within('operator');
    return html`<form class="fields panel new" aria-label="New work order" @submit=${(e) => this.open(e)}>
      <label class="wide">What is to be done<input name="title" required maxlength="200"></label>
      <label class="wide">More about it<textarea name="description" maxlength="20000"></textarea></label>
      <label>Site<select name="site" @change=${(e) => this.lookIn(e.target.value)}><option value="">none</option>${(this.sites ?? []).map((s) => html`<option value=${s.id}>${title(s)}</option>`)}</select></label>
      ${this.spaces?.length ? html`<label>Space<select name="space"><option value="">the whole site</option>${this.spaces.map((s) => html`<option value=${s.id}>${title(s)}</option>`)}</select></label>` : nothing}
      ${domains.length ? html`<label>For<select name="domain">${domains.map((d) => html`<option value=${d.domain}>${d.domain}</option>`)}</select></label>` : nothing}
      <label>Priority<select name="priority">${priorities.map((p) => html`<option ?selected=${p === 'medium'}>${p}</option>`)}</select></label>
      <label>Assigned to<select name="assignee"><option value="">nobody yet</option>${[...this.people?.values() ?? []].filter((u) => u.id && u.active !== false).map((u) => html`<option value=${u.id}>${u.name || u.email}</option>`)}</select></label>
      <button class="primary" ?disabled=${this.busy}>Open</button></form>`;
  }

  /** Opens or closes the form of a new order. */
  begin() {
    this.adding = !this.adding;
    this.spaces = [];
    if (this.adding) this.act(async () => { this.sites = (await this.get(`v1/sites${session.org && `?org=${encodeURIComponent(session.org)}`}`)).sites; });
  }

  lookIn(site) {
    this.spaces = [];
    if (site) this.act(async () => { this.spaces = (await this.get(`v1/sites/${encodeURIComponent(site)}/spaces`)).spaces ?? []; });
  }

  async open(e) {
    await this.submit(e, async (f) => {
      const body = Object.fromEntries(Object.entries(f).filter(([, v]) => v));
      const o = await this.post('v1/work-orders', body);
      this.adding = false;
      return `${o.number} is open.`;
    });
  }
}

customElements.define('headcount-orders', HeadcountOrders);
