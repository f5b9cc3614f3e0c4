// <headcount-people>: who has an account in an organisation, their roles, invitations, import,
// and the tokens of services.
import { css, html, nothing, repeat } from './vendor/lit/lit.js';
import { request } from './client.js';
import { Screen } from './screen.js';
import { session } from './session.js';
import './tokens.js';

export const roles = ['viewer', 'operator', 'manager', 'admin'];

class HeadcountPeople extends Screen {
  static properties = { users: { state: true }, next: { state: true }, report: { state: true }, chosen: { state: true } };

  static styles = [Screen.styles, css`
    .role { display: flex; gap: .4rem; align-items: center; margin: .15rem 0; flex-wrap: wrap; }
    .off { opacity: .6; }
  `];

  follows = 'user.';
  query = '';

  async fetch() {
    if (!session.org) return;
    const page = await this.get(`v1/orgs/${session.org}/users?limit=200${this.query && `&q=${encodeURIComponent(this.query)}`}`);
    [this.users, this.next] = [page.users, page.next];
  }

  get admin() { return session.mayHere('admin'); }

  render() {
    if (!session.org) return html`<p class="empty">There is no organisation with accounts yet. <a href="#/claim">Make the first account</a></p>`;
    return html`<section><div class="head"><h2>People of ${session.org}</h2>
        <input type="search" placeholder="Search" aria-label="Search" @change=${(e) => { this.query = e.target.value; this.load(); }}>
        ${this.admin ? html`<a class="button" href="v1/orgs/${session.org}/users.csv" download>Export</a>` : nothing}</div>${this.said()}
      ${this.admin ? this.invitation() : nothing}${this.table()}${this.admin ? this.importer() : nothing}</section>
      ${this.admin ? html`<section><headcount-tokens></headcount-tokens></section>` : nothing}`;
  }

  invitation() {
    return html`<details class="panel"><summary>Invite somebody</summary><form class="fields" aria-label="Invite somebody" @submit=${(e) => this.submit(e, (f) => this.invite(f))}>
      <label>Mail address<input type="email" name="email" required></label><label>Name<input name="name" required></label>
      <label>In<select name="domain">${session.within('admin').map((d) => html`<option value=${d.domain}>${d.domain}</option>`)}</select></label>
      <label>Role<select name="role">${roles.map((r) => html`<option>${r}</option>`)}</select></label><button class="primary" ?disabled=${this.busy}>Invite</button></form></details>`;
  }

  async invite(f) {
    await this.post(`v1/orgs/${session.org}/invitations`, f);
    return `${f.email} is ${f.role} in ${f.domain}; who had no account is sent a link, which is good for 7 days.`;
  }

  table() {
    if (!this.users) return this.waiting();
    if (!this.users.length) return html`<p class="empty">Nobody is like that.</p>`;
    return html`<div class="panel scroll"><table><thead><tr><th>Name</th><th>Mail address</th><th>Roles</th><th>State</th><th></th></tr></thead>
      <tbody>${repeat(this.users, (u) => u.id, (u) => this.row(u))}</tbody></table></div>${this.next ? html`<p class="muted small">There are more: search for them.</p>` : nothing}`;
  }

  row(u) {
    const state = u.active ? (u.verified ? 'active' : 'invited') : 'deactivated';
    return html`<tr class=${u.active ? '' : 'off'}><th scope="row">${u.name}</th><td>${u.email}</td>
      <td>${u.memberships.map((m) => this.role(u, m))}${this.chosen === u.id ? this.grant(u) : nothing}</td>
      <td><span class="badge ${u.active ? (u.verified ? 'ok' : '') : 'warn'}">${state}</span></td>
      <td class="end">${this.admin ? html`<button aria-label="Give ${u.name} a role" @click=${() => { this.chosen = this.chosen === u.id ? '' : u.id; }}>Add role</button>
        ${u.id === session.id ? nothing : u.active ? html`<button ?disabled=${this.busy} aria-label="Deactivate ${u.name}" @click=${() => this.act(() => this.post(`v1/users/${u.id}/deactivate`), `${u.name} is shut out.`)}>Deactivate</button>`
          : html`<button ?disabled=${this.busy} aria-label="Reactivate ${u.name}" @click=${() => this.act(() => this.post(`v1/users/${u.id}/reactivate`), `${u.name} may log in again.`)}>Reactivate</button>`}` : nothing}</td></tr>`;
  }

  role(u, m) {
    if (!session.may('admin', m.domain)) return html`<div class="role">${m.role} in ${m.domain}</div>`;
    return html`<div class="role"><select aria-label="Role of ${u.name} in ${m.domain}" @change=${(e) => this.act(() => this.post(`v1/users/${u.id}/memberships`, { ...m, role: e.target.value }), `${u.name} is ${e.target.value} in ${m.domain}.`)}>
      ${roles.map((r) => html`<option .selected=${r === m.role}>${r}</option>`)}</select> in ${m.domain}
      <button ?disabled=${this.busy} aria-label="Remove ${u.name}'s role in ${m.domain}" @click=${() => this.act(() => request(`v1/users/${u.id}/memberships?domain=${encodeURIComponent(m.domain)}`, { method: 'DELETE' }))}>Remove</button></div>`;
  }

  grant(u) {
    return html`<form class="role" aria-label="Role for ${u.name}" @submit=${(e) => this.submit(e, async (f) => { await this.post(`v1/users/${u.id}/memberships`, f); this.chosen = ''; })}>
      <select name="role" aria-label="Role">${roles.map((r) => html`<option>${r}</option>`)}</select> in <select name="domain" aria-label="Domain">${session.within('admin').map((d) => html`<option value=${d.domain}>${d.domain}</option>`)}</select><button>Give</button></form>`;
  }

  importer() {
    return html`<details class="panel"><summary>Import from CSV</summary><p class="muted small">Columns email,name,domain,role and, if wanted, locale,timezone. All lines are taken or none; see first what would change.</p>
      <form class="fields" aria-label="Import" @submit=${(e) => { e.preventDefault(); this.import(e.target, e.submitter.value); }}>
      <label>File<input type="file" name="file" accept=".csv,text/csv" required></label><button value="1" ?disabled=${this.busy}>What would change</button><button class="primary" value="" ?disabled=${this.busy}>Import</button></form>
      ${this.report ? this.changes(this.report) : nothing}</details>`;
  }

  import(form, dry) {
    this.report = null;
    return this.act(async () => {
      this.report = await request(`v1/orgs/${session.org}/users/import${dry && '?dry_run=1'}`, { method: 'POST', body: form.elements.file.files[0], type: 'text/csv' });
    });
  }

  changes(r) {
    return html`<p role="status"><strong>${r.dry_run ? 'Nothing is changed yet.' : 'Imported.'}</strong> ${r.created} new, ${r.updated} changed, ${r.unchanged} as they are.</p>
      <div class="scroll"><table><thead><tr><th>Line</th><th>Mail address</th><th>Change</th><th></th></tr></thead><tbody>${(r.lines ?? []).map((l) => html`<tr><td>${l.line}</td><td>${l.email}</td><td>${l.change}</td><td>${l.detail}</td></tr>`)}</tbody></table></div>`;
  }
}

customElements.define('headcount-people', HeadcountPeople);
