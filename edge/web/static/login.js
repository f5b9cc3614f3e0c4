// <headcount-login>: how people come in at a cloud: log in, ask for a new password, make the
// first account with the claim code, or use a token of the server's token file.
import { LitElement, css, html, nothing } from './vendor/lit/lit.js';
import { request } from './client.js';
import { session, told } from './session.js';
import { base, controls } from './styles.js';

const titles = { login: 'Log in', reset: 'New password', claim: 'Make the first account', token: 'Access token' };

export class HeadcountLogin extends LitElement {
  static properties = { mode: {}, error: { state: true }, done: { state: true }, busy: { state: true }, providers: { state: true } };

  static styles = [base, controls, css`
    :host { max-width: 24rem; width: 100%; margin: clamp(.5rem, 8vh, 5rem) auto 0; }
    .box { padding: 1.4rem; display: grid; gap: 1rem; }
    h2 { font-size: 1.3rem; }
    form { display: grid; gap: .9rem; }
    .error { color: var(--bad); background: var(--bad-soft); padding: .5rem .7rem; border-radius: 9px; }
    .other { display: flex; flex-wrap: wrap; gap: .3rem 1rem; border-top: 1px solid var(--line); padding-top: .8rem; font-size: .85rem; }
    a { color: var(--accent); }
    .provider { display: block; text-align: center; padding: .5rem; border: 1px solid var(--line); border-radius: 9px; text-decoration: none; font-weight: 600; }
  `];

  constructor() {
    super();
    this.mode = 'login';
    this.providers = [];
  }

  connectedCallback() {
    super.connectedCallback();
    request('auth/oidc', { guest: true }).then((a) => { this.providers = a.providers ?? []; }, () => {}); // then there are none to offer
  }

  willUpdate(changed) {
    if (changed.has('mode')) this.error = this.done = '';
  }

  render() {
    const forms = { login: () => this.login(), reset: () => this.reset(), claim: () => this.claim(), token: () => this.token() };
    return html`<section class="box panel" aria-labelledby="title"><h2 id="title">${titles[this.mode]}</h2>
      ${session.ended && this.mode === 'login' ? html`<p role="status">${session.ended}</p>` : nothing}
      ${this.done ? html`<p role="status">${this.done}</p>` : html`<form @submit=${this.submit}>${forms[this.mode]()}
        ${this.error ? html`<p class="error" role="alert">${this.error}</p>` : nothing}
        <button class="primary" ?disabled=${this.busy}>${this.mode === 'reset' ? 'Send me a link' : this.mode === 'claim' ? 'Begin' : 'Log in'}</button></form>`}
      ${this.mode === 'login' ? this.providers.map((p) => html`<a class="provider" href=${p.start}>Log in at ${p.name}</a>`) : nothing}
      <nav class="other" aria-label="Other ways in">
        ${Object.entries({ login: 'Log in', reset: 'Forgotten password', claim: 'I have a claim code', token: 'I have an access token' })
          .filter(([mode]) => mode !== this.mode).map(([mode, text]) => html`<a href="#/${mode}">${text}</a>`)}
      </nav></section>`;
  }

  login() {
    return html`<label>Mail address<input name="email" type="email" required autocomplete="username" autofocus></label>
      <label>Password<input name="password" type="password" required autocomplete="current-password"></label>`;
  }

  reset() {
    return html`<p class="muted small">If there is an account with this address, it is sent a link by which a new password can be set.</p>
      <label>Mail address<input name="email" type="email" required autocomplete="username"></label>`;
  }

  claim() {
    return html`<p class="muted small">The code is in the file claim.code of the server's data directory; <code>headcount-cloud claim-code</code> shows it.</p>
      <label>Claim code<input name="code" required autocomplete="off" spellcheck="false"></label>
      <label>Id of the organisation<input name="org" required pattern="[a-z0-9_\\-]{1,64}" title="a-z 0-9 _ -" autocomplete="off" placeholder="acme"></label>
      <label>Its name<input name="orgName" required autocomplete="organization" placeholder="Acme"></label>
      <label>Your mail address<input name="email" type="email" required autocomplete="username"></label>
      <label>Your name<input name="name" required autocomplete="name"></label>
      <label>Password, at least 10 characters<input name="password" type="password" required minlength="10" autocomplete="new-password"></label>`;
  }

  token() {
    return html`<p class="muted small">A token of the server's token file, or of a service. It is kept until this tab is closed.</p>
      <label>Token<input type="password" name="token" required autocomplete="off"></label>`;
  }

  async submit(e) {
    e.preventDefault();
    const f = Object.fromEntries(new FormData(e.target));
    this.busy = true;
    this.error = '';
    try {
      await this.send(f);
    } catch (err) {
      this.error = told(err) || 'That was not accepted.';
    }
    this.busy = false;
  }

  async send(f) {
    switch (this.mode) {
      case 'login': return session.login(f.email, f.password);
      case 'token': return session.useToken(f.token.trim());
      case 'claim':
        await session.claim({ code: f.code.trim(), organisation: { id: f.org, name: f.orgName }, email: f.email, name: f.name, password: f.password });
        location.hash = '#/';
        return undefined;
      default:
        await request('auth/reset/request', { method: 'POST', body: { email: f.email }, guest: true });
        this.done = 'If there is an account with this address, a link is on its way. It is good for an hour.';
        return undefined;
    }
  }
}

customElements.define('headcount-login', HeadcountLogin);
