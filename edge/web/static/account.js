// <headcount-account>: the account of the person who is logged in: name, password, logins, and
// how they want to be told.
import { css, html, nothing } from './vendor/lit/lit.js';
import { request } from './client.js';
import { age, clock, join } from './format.js';
import { Screen } from './screen.js';
import { session } from './session.js';

const kinds = {
  '': 'everything', alert: 'alerts', digest: 'digests of late alerts', 'workorder.assigned': 'work assigned to me', 'workorder.moved': 'work orders moved', 'workorder.mention': 'mentions',
  'workorder.approval': 'requests for approval', 'workorder.breached': 'missed deadlines', 'workorder.reminder': 'reminders',
};

/** "Firefox on Linux", of what a browser calls itself. */
function browser(agent) {
  const name = /(Firefox|Edg|OPR|Chrome|Safari)\//.exec(agent)?.[1], system = /(Android|iPhone|iPad|Windows|Mac OS X|Linux)/.exec(agent)?.[1];
  return name ? join(name.replace('Edg', 'Edge').replace('OPR', 'Opera'), system).replace(' · ', ' on ') : agent || 'unknown';
}

class HeadcountAccount extends Screen {
  static properties = { sessions: { state: true }, wishes: { state: true } };

  static styles = [Screen.styles, css`
    td input[type=time] { width: 7.5rem; min-height: 2rem; padding: .1rem .4rem; }
  `];

  async fetch() {
    if (!session.person) return;
    const [s, p] = await Promise.all([this.get('auth/sessions'), this.get('v1/preferences')]);
    [this.sessions, this.wishes] = [s.sessions, p.preferences];
  }

  render() {
    if (!session.person) return html`<p class="empty">You use this server without an account.</p>`;
    return html`<div class="head"><h2>${session.name}</h2><span class="muted">${session.who.user?.email}</span></div>${this.said()}
      ${this.roles()}${this.profile()}${this.preferences()}${this.password()}${this.logins()}`;
  }

  roles() {
    return html`<section class="panel box"><h3>Roles</h3>${session.who.memberships.length ? session.who.memberships.map((m) => html`<p>${m.role} in ${m.domain}${m.subs === false ? ' alone' : ''}</p>`) : html`<p class="muted">None: an admin has to give you one.</p>`}</section>`;
  }

  profile() {
    const u = session.who.user ?? {};
    return html`<section class="panel box"><h3>About me</h3><form class="fields" aria-label="About me" @submit=${(e) => this.save(e)}>
      <label>Name<input name="name" required .value=${u.name ?? ''} autocomplete="name"></label>
      <label>Time zone<input name="timezone" .value=${u.timezone ?? ''} placeholder="Europe/Oslo"></label>
      <label>Language<input name="locale" .value=${u.locale ?? ''} placeholder="en-GB"></label><button ?disabled=${this.busy}>Save</button></form></section>`;
  }

  save(e) {
    e.preventDefault();
    const body = Object.fromEntries(new FormData(e.target));
    return this.act(async () => {
      await request('auth/me', { method: 'PATCH', body });
      await session.start();
    }, 'Saved.');
  }

  preferences() {
    return html`<section class="panel box"><h3>How I want to be told</h3>
      <p class="muted small">Without a line everything goes to inbox, mail and push. The most special line counts. In quiet hours mail and push wait, except for what is critical.</p>
      ${this.wishes?.length ? html`<div class="scroll"><table><thead><tr><th>Of</th><th>Organisation</th><th>Inbox</th><th>Mail</th><th>Push</th><th>Quiet from</th><th>to</th><th></th></tr></thead>
        <tbody>${this.wishes.map((p, i) => this.wish(p, i))}</tbody></table></div>` : nothing}
      <div class="head"><button @click=${() => this.wish0()}>Add a line</button><button class="primary" ?disabled=${this.busy || !this.wishes} @click=${() => this.saveWishes()}>Save</button></div></section>`;
  }

  wish(p, i) {
    const set = (change) => { this.wishes = this.wishes.map((w, j) => (j === i ? { ...w, ...change } : w)); };
    const check = (way) => html`<td><input type="checkbox" aria-label=${way} .checked=${p[way]} @change=${(e) => set({ [way]: e.target.checked })}></td>`;
    const quiet = (end) => html`<td><input type="time" aria-label="Quiet ${end}" .value=${p.quiet?.[end] ?? ''} @change=${(e) => set({ quiet: this.hours(p.quiet, end, e.target.value) })}></td>`;
    return html`<tr><td><select aria-label="Of" @change=${(e) => set({ kind: e.target.value })}>${Object.entries({ [p.kind]: p.kind, ...kinds }).map(([k, text]) => html`<option value=${k} ?selected=${k === p.kind}>${text}</option>`)}</select></td>
      <td><select aria-label="Organisation" @change=${(e) => set({ org: e.target.value })}><option value="">all</option>${session.orgs.map((o) => html`<option ?selected=${o === p.org}>${o}</option>`)}</select></td>
      ${check('inbox')}${check('mail')}${check('push')}${quiet('from')}${quiet('to')}
      <td class="end"><button @click=${() => { this.wishes = this.wishes.filter((_, j) => j !== i); }}>Remove</button></td></tr>`;
  }

  wish0() { this.wishes = [...this.wishes ?? [], { org: '', kind: '', inbox: true, mail: true, push: true }]; }

  hours(quiet, end, at) {
    const q = { from: '', to: '', timezone: session.who.user?.timezone || Intl.DateTimeFormat().resolvedOptions().timeZone, ...quiet, [end]: at };
    return q.from || q.to ? q : undefined;
  }

  saveWishes() { return this.act(() => request('v1/preferences', { method: 'PUT', body: { preferences: this.wishes } }), 'Saved.'); }

  password() {
    return html`<section class="panel box"><h3>Password</h3><form class="fields" aria-label="Password" @submit=${(e) => this.submit(e, (f) => this.post('auth/password', f), 'The password is changed; all other logins have ended.')}>
      <input type="hidden" autocomplete="username" .value=${session.who.user?.email ?? ''}>
      <label>Present password<input type="password" name="current" required autocomplete="current-password"></label>
      <label>New one, at least 10 characters<input type="password" name="new" required minlength="10" autocomplete="new-password"></label><button ?disabled=${this.busy}>Change</button></form></section>`;
  }

  logins() {
    return html`<section class="panel box"><h3>Logins</h3><div class="scroll"><table><thead><tr><th>Browser</th><th>Address</th><th>Begun</th><th>Used</th><th></th></tr></thead>
      <tbody>${(this.sessions ?? []).map((s) => html`<tr><td>${browser(s.agent)}</td><td>${s.address}</td><td>${clock(s.created)}</td><td>${join(age(s.used), 'ago').replace(' · ', ' ')}</td>
        <td class="end">${s.current ? 'this one' : html`<button ?disabled=${this.busy} @click=${() => this.act(() => request(`auth/sessions/${s.id}`, { method: 'DELETE' }))}>End</button>`}</td></tr>`)}</tbody></table></div></section>`;
  }
}

customElements.define('headcount-account', HeadcountAccount);
