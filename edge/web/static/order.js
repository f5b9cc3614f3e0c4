// <headcount-order>: one work order: what may be done with it, tasks, notes as they are written,
// files, and its history.
import { css, html, nothing, repeat } from './vendor/lit/lit.js';
import { Refused, request } from './client.js';
import { clock, join, size } from './format.js';
import { due, priorities, priorityBadge, stateNames } from './orders.js';
import { Screen, members } from './screen.js';
import { session } from './session.js';

const moveNames = {
  open: 'Open', acknowledged: 'Acknowledge', in_progress: 'Start work', waiting_approval: 'Ask for approval', approved: 'Approve', rejected: 'Reject',
  resolved: 'Resolve', closed: 'Close', reopened: 'Reopen', postponed: 'Postpone',
};
const fileStates = {
  uploading: ['', 'upload broke off'], pending: ['', 'being scanned'], clean: ['ok', 'clean'], infected: ['bad', 'infected, deleted'], failed: ['warn', 'could not be scanned'], not_scanned: ['', 'not scanned'],
};
const readable = new Set(['clean', 'not_scanned']);

class HeadcountOrder extends Screen {
  static properties = { order: {}, view: { state: true }, notes: { state: true }, history: { state: true }, files: { state: true }, moving: { state: true }, missing: { state: true } };

  static styles = [Screen.styles, css`
    :host { display: grid; gap: 1.2rem; grid-template-columns: minmax(0, 1fr); }
    @media (min-width: 900px) { .sides { grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); } }
    .sides { display: grid; gap: 1.2rem; align-items: start; }
    section + section { margin-top: 0; }
    img { max-width: 100%; }
    .moves { display: flex; gap: .5rem; flex-wrap: wrap; margin-top: .9rem; }
    .description { white-space: pre-line; margin-top: .6rem; overflow-wrap: anywhere; }
    .facts { display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem; font-size: .92rem; }
    dt { color: var(--muted); } dd { overflow-wrap: anywhere; }
    dd select { min-height: 2rem; padding: .1rem .4rem; width: auto; }
    .list { display: grid; gap: .6rem; margin-bottom: .8rem; }
    .list li { display: grid; gap: .1rem; overflow-wrap: anywhere; }
    .note { background: var(--surface-2); padding: .5rem .75rem; border-radius: 9px; white-space: pre-line; }
    .line, .list li.line { display: flex; gap: .5rem; align-items: center; flex-wrap: wrap; }
    .line > .grow { flex: 1 1 8rem; min-width: 0; }
    .line input[type=checkbox] { width: auto; min-height: 0; }
    .gone { text-decoration: line-through; color: var(--muted); }
    .late { color: var(--bad); font-weight: 600; }
    img { max-width: 10rem; max-height: 8rem; border-radius: 9px; display: block; }
  `];

  follows = 'workorder.';

  get path() { return `v1/work-orders/${encodeURIComponent(this.order)}`; }

  willUpdate(changed) {
    if (changed.has('order') && changed.get('order')) this.load();
  }

  happened(e) {
    if (!e || e.data.subject === this.order) super.happened(e);
  }

  async fetch() {
    try {
      const [view, notes, history, files, people] = await Promise.all([
        this.get(this.path), this.get(`${this.path}/notes?limit=500`), this.get(`${this.path}/history`), this.get(`${this.path}/attachments`), this.people ?? members(session.org)]);
      [this.view, this.notes, this.history, this.files, this.people, this.missing] = [view, notes.notes, history.history, files.attachments, people, false];
    } catch (err) {
      if (!(err instanceof Refused && err.status === 404)) throw err;
      this.missing = true;
    }
  }

  get works() { return session.may('operator', this.view.domain); }

  render() {
    if (this.missing) return html`<p class="empty">There is no such work order, or it is not yours to see. <a href="#/orders">All work orders</a></p>`;
    const o = this.view;
    if (!o) return html`${this.said()}${this.waiting()}`;
    return html`<div><a href="#/orders">All work orders</a></div>${this.said()}
      <div class="sides"><div>${this.about(o)}${this.talk(o)}</div><div>${this.facts(o)}${this.tasks(o)}${this.attachments()}${this.past()}</div></div>`;
  }

  about(o) {
    return html`<section class="panel box"><div class="line"><span class="muted">${o.number || 'draft'}</span>${priorityBadge(o)}<span class="badge ok">${stateNames[o.state]}</span>
        ${o.overdue ? html`<span class="badge bad">overdue</span>` : nothing}${o.alert_cleared_at ? html`<span class="badge ok">the alert has cleared</span>` : nothing}</div>
      <h2>${o.title}</h2>${o.reason ? html`<p class="muted">${o.reason}</p>` : nothing}${o.description ? html`<p class="description">${o.description}</p>` : nothing}
      ${o.moves.length ? html`<div class="moves" role="group" aria-label="What to do with it">${o.moves.map((m) => html`<button aria-expanded=${this.moving === m}
        @click=${() => { this.moving = this.moving === m ? '' : m; }}>${moveNames[m] ?? m}</button>`)}</div>` : nothing}
      ${o.moves.includes(this.moving) ? this.mover(o) : nothing}
      ${o.approvals.filter((a) => a.state === 'pending').map((a) => html`<p class="small">${a.asked_name} asks for approval: ${join(a.reason, a.cost)}</p>`)}</section>`;
  }

  mover(o) {
    const to = this.moving;
    return html`<form class="fields moves" aria-label=${moveNames[to]} @submit=${(e) => this.move(e, o, to)}>
      <label class="wide">Reason<input name="reason" maxlength="2000" autofocus></label>
      ${to === 'postponed' ? html`<label>Until<input type="datetime-local" name="until" required></label>` : nothing}
      ${to === 'waiting_approval' ? html`<label>Cost, if any<input name="cost" placeholder="1200 NOK"></label>` : nothing}
      <button class="primary" ?disabled=${this.busy}>${moveNames[to]}</button></form>`;
  }

  move(e, o, to) {
    return this.submit(e, async (f) => {
      const body = { to, version: o.version, ...Object.fromEntries(Object.entries(f).filter(([, v]) => v)) };
      if (body.until) body.until = new Date(body.until).toISOString();
      await this.post(`${this.path}/move`, body);
      this.moving = '';
    });
  }

  facts(o) {
    const facts = [['Site', o.site ? html`<a href="#/site/${encodeURIComponent(o.site)}">${o.site}</a>` : ''], ['Space', o.space], ['For', o.domain], ['Due', o.due_in == null ? '' : html`<span class=${o.overdue ? 'late' : ''}>${due(o)}</span>`],
      ['Opened', join(clock(o.created_at), o.creator_name)], ['Postponed until', o.postponed_until && clock(o.postponed_until)], ['Cost', o.cost], ['Labels', o.labels.join(', ')]];
    return html`<section class="panel box"><dl class="facts">
      <dt>Assigned to</dt><dd>${this.works ? html`<select aria-label="Assigned to" @change=${(e) => this.change({ assignee: e.target.value })}><option value="">nobody</option>
        ${this.candidates(o).map((u) => html`<option value=${u.id} ?selected=${u.id === o.assignee}>${u.name || u.email}</option>`)}</select>` : this.name(o.assignee) || 'nobody'}</dd>
      <dt>Priority</dt><dd>${this.works ? html`<select aria-label="Priority" @change=${(e) => this.change({ priority: e.target.value })}>${priorities.map((p) => html`<option ?selected=${p === o.priority}>${p}</option>`)}</select>` : o.priority}</dd>
      ${facts.filter(([, v]) => v).map(([k, v]) => html`<dt>${k}</dt><dd>${v}</dd>`)}</dl></section>`;
  }

  candidates(o) {
    const list = [...this.people.values()].filter((u) => u.email && u.active);
    return o.assignee && !list.some((u) => u.id === o.assignee) ? [{ id: o.assignee, name: this.name(o.assignee) }, ...list] : list;
  }

  name(id) { return id && (this.people.get(id)?.name || this.people.get(id)?.email || 'somebody'); }

  change(patch) { return this.act(() => request(this.path, { method: 'PATCH', body: patch, match: `"v${this.view.version}"` })); }

  talk() {
    return html`<section class="panel box"><h3>Notes</h3><ul class="list" aria-live="polite">${repeat(this.notes, (n) => n.id, (n) => html`<li><span class="muted small">${join(n.name, clock(n.at), n.edited_at ? 'edited' : '')}</span>
        ${n.deleted ? html`<span class="gone">deleted</span>` : html`<span class="note">${n.text}</span>`}</li>`)}</ul>
      ${this.notes.length ? nothing : html`<p class="muted small">Nobody has written anything yet.</p>`}
      ${this.works ? html`<form class="fields" aria-label="Write a note" @submit=${(e) => this.submit(e, (f) => this.post(`${this.path}/notes`, f))}>
        <label class="wide">Note; @ and a name or mail address tells somebody<textarea name="text" required maxlength="10000"></textarea></label><button class="primary" ?disabled=${this.busy}>Write</button></form>` : nothing}</section>`;
  }

  tasks(o) {
    return html`<section class="panel box"><h3>Sub-tasks</h3>${o.tasks.length ? nothing : html`<p class="muted small">None. The order is not resolved while one is open.</p>`}
      <ul class="list">${repeat(o.tasks, (t) => t.id, (t) => html`<li class="line"><input type="checkbox" id=${t.id} .checked=${t.done} ?disabled=${!this.works || this.busy} @change=${(e) => this.act(() => request(`${this.path}/tasks/${t.id}`, { method: 'PATCH', body: { done: e.target.checked } }))}>
        <label class="grow" for=${t.id}><span class=${t.done ? 'gone' : ''}>${t.title}</span></label><span class="muted small">${this.name(t.assignee)}</span></li>`)}</ul>
      ${this.works ? html`<form class="line" aria-label="Add a sub-task" @submit=${(e) => this.submit(e, (f) => this.post(`${this.path}/tasks`, f))}><input class="grow" name="title" required maxlength="200" aria-label="Sub-task"><button ?disabled=${this.busy}>Add</button></form>` : nothing}</section>`;
  }

  attachments() {
    return html`<section class="panel box"><h3>Files</h3><ul class="list">${repeat(this.files, (f) => f.id, (f) => this.file(f))}</ul>
      ${this.files.length ? nothing : html`<p class="muted small">None.</p>`}
      ${this.works ? html`<form class="line" aria-label="Add a file" @submit=${(e) => this.submit(e, (f) => this.upload(f.file))}><input class="grow" type="file" name="file" required aria-label="File"><button ?disabled=${this.busy}>Upload</button></form>` : nothing}</section>`;
  }

  file(f) {
    const [tone, text] = fileStates[f.state] ?? ['', f.state], at = `${this.path}/attachments/${f.id}/content`;
    return html`<li>${readable.has(f.state) && f.variants.some((v) => v.name === 'thumbnail') ? html`<img src="${at}?variant=thumbnail" alt="">` : nothing}
      <span class="line"><span class="grow">${readable.has(f.state) ? html`<a href=${at} download=${f.name}>${f.name}</a>` : f.name}</span><span class="badge ${tone}">${text}</span></span>
      <span class="muted small">${join(f.size < 0 ? '' : size(f.size), f.type, f.mismatch ? `was called ${f.declared}` : '', f.by_name, f.reason, ...(f.remarks ?? []))}</span></li>`;
  }

  upload(file) {
    const body = new FormData();
    body.append('file', file);
    return request(`${this.path}/attachments`, { method: 'POST', body });
  }

  past() {
    return html`<details class="panel"><summary>History</summary><ul class="list">${[...this.history].reverse().map((s) => html`<li><span>${s.what.replaceAll('_', ' ')}${s.to ? html` to <strong>${stateNames[s.to] ?? s.to}</strong>` : nothing}${s.why ? `: ${s.why}` : ''}</span>
      <span class="muted small">${join(s.name, clock(s.at))}</span></li>`)}</ul></details>`;
  }
}

customElements.define('headcount-order', HeadcountOrder);
