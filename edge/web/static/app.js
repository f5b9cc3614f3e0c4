// <headcount-app>: the page. Its attributes say whether it talks to a hub (one site) or to a
// cloud (many) and whether the site is simulated; it shows a site by floors.
import { LitElement, css, html, nothing, repeat } from './vendor/lit/lit.js';
import { pause, token } from './client.js';
import { age, clock, duration, join, known, people, size, sync, title } from './format.js';
import { Site } from './site.js';
import { base, controls } from './styles.js';
import { followDemo } from './demo.js';
import { open } from './alerts.js';
import './detail.js';
import './devices.js';
import './sensors.js';
import './sites.js';
import './space.js';

/** Tells whether a site's values may be old ones. */
const old = (site) => site.connected === false || Boolean(site.status?.stale);

/** A part of the address; what is no proper encoding stays as it is. */
function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

class HeadcountApp extends LitElement {
  static properties = {
    server: {}, // "hub", "cloud"
    simulated: { type: Boolean },
    asks: { type: Boolean }, // a cloud with a model that answers questions
    siteID: { state: true }, spaceID: { state: true }, asking: { state: true }, demo: { state: true },
    cloud: { state: true }, view: { state: true }, problem: { state: true },
  };

  static styles = [base, controls, css`
    :host { min-height: 100dvh; }
    a { color: inherit; }
    header { display: flex; align-items: center; gap: .5rem 1rem; flex-wrap: wrap; padding: .8rem clamp(1rem, 3vw, 2rem); background: var(--surface); border-bottom: 1px solid var(--line); }
    .brand { display: flex; align-items: center; gap: .6rem; text-decoration: none; font-size: 1.1rem; }
    .brand img { width: 30px; height: 30px; }
    h1 { font-size: 1.15rem; font-weight: 650; }
    .sync { margin-left: auto; display: flex; align-items: center; gap: .5rem; font-size: .9rem; }
    .dot { width: .65rem; height: .65rem; border-radius: 50%; background: var(--muted); flex: none; }
    .dot.ok { background: var(--ok); } .dot.warn { background: var(--warn); } .dot.bad { background: var(--bad); }
    .lost { background: var(--warn-soft); color: var(--warn); border-bottom: 1px solid var(--warn); padding: .5rem clamp(1rem, 3vw, 2rem); font-weight: 600; }
    main { padding: 1.1rem clamp(1rem, 3vw, 2rem) 3rem; max-width: 1500px; margin: 0 auto; display: grid; grid-template-columns: minmax(0, 1fr); gap: 1.3rem; }
    .totals { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .7rem; }
    .total { padding: .7rem 1rem; }
    .total b { display: block; font-size: 1.7rem; line-height: 1.25; font-weight: 650; font-variant-numeric: tabular-nums; }
    .old b, .old.nums { opacity: .5; }
    .range { white-space: nowrap; }
    .total .bad { color: var(--bad); } .total .warn { color: var(--warn); }
    h2 { font-size: 1.05rem; margin-bottom: .6rem; display: flex; gap: .6rem; align-items: baseline; flex-wrap: wrap; }
    h2 .muted { font-weight: 400; font-size: .9rem; }
    h2 button { border: none; background: none; padding: 0; min-height: 0; font-weight: inherit; }
    h2 button:hover { text-decoration: underline; background: none; }
    .grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(12.5rem, 1fr)); gap: .7rem; }
    details.panel { padding: .8rem 1rem; }
    summary { cursor: pointer; font-weight: 600; }
    details > :nth-child(2) { margin-top: .8rem; }
    .facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .2rem 1.5rem; font-size: .9rem; }
    .facts div { display: flex; justify-content: space-between; gap: 1rem; border-top: 1px solid var(--line); padding: .3rem 0; }
    .facts dt { color: var(--muted); white-space: nowrap; } .facts dd { text-align: right; overflow-wrap: anywhere; }
    .inputs { border-top: 1px solid var(--line); padding-top: .5rem; margin-top: .2rem; display: grid; gap: .25rem; font-size: .9rem; overflow-wrap: anywhere; }
    dialog { border: 1px solid var(--line); border-radius: 16px; background: var(--surface); color: var(--text); padding: 1.2rem; width: min(26rem, calc(100vw - 2rem)); }
    dialog::backdrop { background: #0008; }
    dialog form { display: grid; gap: .8rem; }
    .waiting { padding: 4rem 1rem; text-align: center; color: var(--muted); }
    @media (max-width: 480px) {
      .grid { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .5rem; }
      .totals { grid-template-columns: 1fr 1fr; gap: .5rem; }
      .sync { margin-left: 0; width: 100%; }
    }
    @media (max-width: 330px) { .grid { grid-template-columns: 1fr; } }
  `];

  constructor() {
    super();
    this.server = 'hub';
    this.siteID = '';
    this.spaceID = '';
    this.view = '';
    this.stop = new AbortController();
  }

  connectedCallback() {
    super.connectedCallback();
    addEventListener('hashchange', () => this.navigate());
    this.ticking = setInterval(() => this.requestUpdate(), 15_000); // ages move on
    if (this.simulated) followDemo(this.stop.signal, (state) => { this.demo = state; });
    this.navigate();
    if (this.server === 'cloud') this.enter();
  }

  /** Finds out who uses the page of a cloud; the rest of the page waits for it. */
  async enter() {
    const cloud = await import('./cloud.js');
    if (!this.asks) delete cloud.views.ask;
    cloud.session.addEventListener('change', () => this.show());
    for (;;) {
      try {
        await cloud.session.start();
        break;
      } catch (err) {
        this.problem = err.status ? err.message : 'The server does not answer yet…';
        await pause(5_000, this.stop.signal);
      }
    }
    this.problem = '';
    this.cloud = cloud;
    this.show();
  }

  /** The address says what is shown: on a cloud #/site/ID or one of its views, #/space/ID for a space's details. */
  navigate() {
    const parts = location.hash.replace(/^#\/?/, '').split('/').map(decode);
    this.parts = parts;
    this.view = this.server === 'cloud' && parts[0] !== 'site' ? parts[0] : '';
    this.load();
    const at = Object.fromEntries(parts.flatMap((p, i) => (i % 2 === 0 ? [[p, parts[i + 1] ?? '']] : [])));
    this.spaceID = at.space ?? '';
    const id = this.server === 'cloud' ? at.site ?? '' : '';
    if (this.site && id === this.siteID) return;
    this.siteID = id;
    this.show();
  }

  show() {
    this.site?.close();
    this.site = null;
    if (this.server === 'hub' || (this.siteID && this.cloud?.session.who)) {
      this.site = new Site(this.server === 'hub' ? 'v1' : `v1/sites/${encodeURIComponent(this.siteID)}`, this.siteID);
      this.site.addEventListener('change', () => this.requestUpdate());
      this.site.addEventListener('unauthorised', () => this.ask());
      this.site.start();
    }
    this.requestUpdate();
  }

  /** Tells whether the caller has a role at a site; a hub tells its callers only by refusing. */
  may(site, role) { return !this.cloud || (site.domains ?? []).some((d) => this.cloud.session.may(role, d)); }

  go(space) {
    const parts = [this.siteID && `site/${encodeURIComponent(this.siteID)}`, space && `space/${encodeURIComponent(space)}`].filter(Boolean);
    location.hash = parts.length ? `#/${parts.join('/')}` : '#/';
  }

  ask() {
    if (this.cloud) this.cloud.session.end('This login has ended. Log in again.');
    else this.asking = true;
  }

  /** Loads the view that the address names, once. */
  async load() {
    const view = this.cloud?.views[this.view];
    if (!view || view.ready) return;
    await view.load();
    view.ready = true;
    this.requestUpdate();
  }

  updated() {
    const dialog = this.renderRoot.querySelector('dialog.token');
    if (dialog && !dialog.open) dialog.showModal();
    this.load();
    document.title = this.site?.name ? `${this.site.name} · Headcount` : 'Headcount';
  }

  render() {
    return html`${this.header()}${this.lost()}
      <main>${this.content()}</main>
      ${this.details()}${this.asking ? this.tokenPrompt() : nothing}`;
  }

  content() {
    if (this.server === 'cloud') {
      const view = this.cloudView();
      if (view) return view;
    }
    const s = this.site;
    if (s?.missing) return html`<p class="waiting" role="status">There is no site ${this.siteID} here. <a href="#/">All sites</a></p>`;
    if (!s?.spaces) return html`<p class="waiting" role="status">${s?.connected === false ? 'The server does not answer yet…' : 'Loading…'}</p>`;
    const devices = this.may(s, 'manager') ? s.devices.filter((d) => d.state === 'pending') : [];
    return html`
      ${this.demo ? html`<headcount-demo .state=${this.demo} .sensors=${s.sensors}></headcount-demo>` : nothing}
      ${this.totals(s, devices)}
      ${open(s.alerts).length || s.alerts.some((a) => a.state === 'cleared') ? html`<section aria-labelledby="alerts"><h2 id="alerts">Alerts</h2><headcount-alerts .site=${s} .alerts=${s.alerts} .may=${this.may(s, 'operator')}></headcount-alerts></section>` : nothing}
      ${this.floors(s.spaces).map((f) => this.floor(s, f))}
      ${devices.length ? html`<section aria-labelledby="devices"><h2 id="devices">New devices <span class="muted">heard, but not assigned to a space yet</span></h2><headcount-devices .site=${s} .devices=${devices}></headcount-devices></section>` : nothing}
      ${this.health(s)}${this.cloud && this.may(s, 'manager') ? html`<details class="panel" @toggle=${(e) => { this.configuring = e.target.open; this.requestUpdate(); }}><summary>Names and capacities</summary>
        <div>${this.configuring ? html`<headcount-desired site=${this.siteID}></headcount-desired>` : nothing}</div></details>` : nothing}${this.hub(s)}`;
  }

  /** What a cloud shows instead of a site. */
  cloudView() {
    if (!this.cloud) return html`<p class="waiting" role="status">${this.problem || 'Loading…'}</p>`;
    const { session, views } = this.cloud;
    if (!session.who || (this.view === 'claim' && !session.person)) return html`<headcount-login mode=${['reset', 'claim', 'token'].includes(this.view) ? this.view : 'login'}></headcount-login>`;
    if (this.siteID) return null;
    const view = views[this.view];
    if (view) return view.ready ? view.show(this.parts.slice(1)) : html`<p class="waiting" role="status">Loading…</p>`;
    return html`<headcount-sites .organisation=${session.orgs.length > 1 ? session.org : ''} @unauthorised=${() => this.ask()}></headcount-sites>`;
  }

  header() {
    const s = this.site, who = this.cloud?.session.who;
    return html`<header>
      <a class="brand" href="#/" aria-label="Headcount, overview"><img src="icon.svg" alt=""><h1>${s?.name || this.siteID || 'Headcount'}</h1></a>
      ${who ? html`<headcount-bar view=${this.siteID ? 'site' : this.view}></headcount-bar>` : nothing}
      ${s ? this.syncLine(s) : nothing}</header>`;
  }

  syncLine(s) {
    if (s.missing) return nothing;
    if (s.connected === false) return html`<div class="sync" role="status"><span class="dot bad"></span>not connected</div>`;
    if (!s.status) return html`<div class="sync" role="status">${s.connected ? html`<span class="dot ok"></span>live` : ''}</div>`;
    const { tone, text, detail } = sync(s.status);
    return html`<div class="sync" role="status"><span class="dot ${tone}"></span><span><strong>${text}</strong>${detail ? html` <span class="muted">· ${detail}</span>` : nothing}</span></div>`;
  }

  lost() {
    const s = this.site;
    if (!s?.spaces || s.connected !== false) return nothing;
    return html`<div class="lost" role="alert">Connection to the server lost${s.heard ? html`; values are of ${clock(s.heard)}` : ''}. Reconnecting…</div>`;
  }

  totals(s, devices) {
    const rooms = s.spaces.filter((x) => x.kind === 'room' || x.kind === 'zone');
    const building = s.spaces.find((x) => x.kind === 'building');
    const occupied = rooms.filter((r) => r.occupancy.state === 'occupied').length;
    const unknown = rooms.filter((r) => !known(r.occupancy)).length;
    const alerts = open(s.alerts).filter((a) => a.state === 'firing').length;
    const trouble = s.sensors.filter((x) => x.status !== 'ok').length;
    return html`<section class="totals ${old(s) ? 'old' : ''}" aria-label="Summary">
      ${building ? html`<div class="total panel"><b>${known(building.occupancy) ? building.occupancy.count : '?'}</b><span class="muted">${known(building.occupancy) ? html`in the building <span class="range">${this.between(building.occupancy)}</span>` : 'in the building: unknown'}</span></div>` : nothing}
      <div class="total panel"><b>${occupied}<span class="muted small"> / ${rooms.length}</span></b><span class="muted">rooms occupied</span></div>
      <div class="total panel"><b>${unknown}</b><span class="muted">${unknown === 1 ? 'room' : 'rooms'} unknown</span></div>
      <div class="total panel"><b class=${alerts ? 'bad' : ''}>${alerts}</b><span class="muted">${alerts === 1 ? 'alert' : 'alerts'} firing</span></div>
      <div class="total panel"><b class=${trouble ? 'warn' : ''}>${trouble}<span class="muted small"> / ${s.sensors.length}</span></b><span class="muted">sensors not heard</span></div>
      ${devices.length ? html`<div class="total panel"><b>${devices.length}</b><span class="muted">new ${devices.length === 1 ? 'device' : 'devices'}</span></div>` : nothing}
    </section>`;
  }

  between(o) { return o.low === o.high ? '' : ` (${o.low}–${o.high})`; }

  /** Floors with their rooms; rooms that are on no floor come last. */
  floors(spaces) {
    const byID = new Map(spaces.map((s) => [s.id, s]));
    const floorOf = (s) => {
      for (let p = s; p; p = byID.get(p.parent)) if (p.kind === 'floor') return p;
      return null;
    };
    const groups = new Map(spaces.filter((s) => s.kind === 'floor').map((f) => [f, []]));
    for (const s of spaces.filter((x) => x.kind === 'room' || x.kind === 'zone')) {
      const f = floorOf(s);
      if (!groups.has(f)) groups.set(f, []);
      groups.get(f).push(s);
    }
    return [...groups].filter(([, rooms]) => rooms.length).map(([floor, rooms]) => ({ floor, rooms }));
  }

  floor(s, { floor, rooms }) {
    const alerting = new Set(open(s.alerts).filter((a) => a.state === 'firing').map((a) => a.subject));
    const o = floor?.occupancy;
    return html`<section aria-label=${floor ? title(floor) : 'Spaces'}>
      <h2>${floor ? html`<button @click=${() => this.go(floor.id)}>${title(floor)}</button><span class="muted nums ${old(s) ? 'old' : ''}">${known(o) ? `${people(o.count)}${this.between(o)}` : 'unknown'}</span>` : 'Spaces'}</h2>
      <div class="grid" @open-space=${(e) => this.go(e.detail)}>
        ${repeat(rooms, (r) => r.id, (r) => html`<headcount-space data-space=${r.id} .space=${r} .truth=${this.demo?.truth?.[r.id]}
          ?alerting=${alerting.has(r.id)} ?stale=${old(s)}></headcount-space>`)}
      </div></section>`;
  }

  health(s) {
    if (!s.sensors.length) return nothing;
    const bad = s.sensors.filter((x) => x.status !== 'ok').length;
    return html`<details class="panel"><summary>Sensors <span class="badge ${bad ? 'warn' : 'ok'}">${bad ? `${bad} of ${s.sensors.length} not heard` : `all ${s.sensors.length} ok`}</span></summary>
      <headcount-sensors .sensors=${s.sensors}></headcount-sensors></details>`;
  }

  hub(s) {
    const st = s.status;
    if (!st?.storage) return nothing; // a cloud knows no hub from within
    const inputs = st.inputs ?? [], down = inputs.filter((i) => !i.up).length;
    const facts = [
      ['Version', st.version], ['Running for', age(st.started_at, Date.parse(st.now))], ['Clock', st.clock],
      ['Readings taken in', st.counts.readings.toLocaleString()], ['Rejected', st.counts.rejected.toLocaleString()],
      ['Store', join(`${size(st.storage.bytes)}${st.storage.max_size ? ` of ${size(st.storage.max_size)}` : ''}`, st.storage.quarantined ? `${st.storage.quarantined} quarantined` : '')],
      ['Can stay offline for', st.horizon_s == null ? 'not known yet' : duration(st.horizon_s)],
    ];
    return html`<details class="panel"><summary>Hub ${down ? html`<span class="badge warn">${down} inputs down</span>` : nothing}</summary>
      <dl class="facts">${facts.map(([k, v]) => html`<div><dt>${k}</dt><dd>${v}</dd></div>`)}</dl>
      <ul class="inputs" aria-label="Inputs">${inputs.map((i) => html`<li><span class="badge ${i.up ? 'ok' : 'warn'}">${i.up ? 'up' : 'down'}</span> <strong>${i.id}</strong> <span class="muted">${i.detail}</span></li>`)}</ul>
      ${(st.warnings ?? []).map((w) => html`<p><span class="badge warn">warning</span> ${w}</p>`)}</details>`;
  }

  details() {
    const space = this.spaceID && this.site?.spaces?.find((s) => s.id === this.spaceID);
    if (!space) return nothing;
    return repeat([space], (s) => s.id, (s) => html`<headcount-detail .site=${this.site} .space=${s} .truth=${this.demo?.truth?.[s.id]} @close-space=${() => this.go('')}></headcount-detail>`);
  }

  tokenPrompt() {
    return html`<dialog class="token" aria-labelledby="token-title" @cancel=${(e) => e.preventDefault()}><form @submit=${this.useToken}>
      <h2 id="token-title">Access token</h2>
      <p class="muted">${token.get() ? 'The server does not take this token.' : 'This server wants a token of its token file.'} It is kept until this tab is closed.</p>
      <label>Token<input type="password" name="token" required autocomplete="off" autofocus></label>
      <button class="primary">Continue</button></form></dialog>`;
  }

  useToken(e) {
    e.preventDefault();
    token.set(new FormData(e.target).get('token').trim());
    this.asking = false;
    this.show();
  }
}

customElements.define('headcount-app', HeadcountApp);
