// <headcount-devices>: devices that the hub hears but that no sensor names yet, to be assigned
// to a space or door, or ignored.
import { LitElement, css, html, nothing } from './vendor/lit/lit.js';
import { repeat } from './vendor/lit/lit.js';
import { age, join, some, title, value } from './format.js';
import { base, controls } from './styles.js';

const classes = {
  'line-tof': 'door counter (time of flight)', 'line-stereo': 'door counter (stereo camera)', 'line-thermopile': 'door counter (thermopile)',
  'line-beam': 'door counter (light beam)', pir: 'motion (PIR)', mmwave: 'presence (radar)', desk: 'desk', 'zone-count': 'zone counter',
  co2: 'CO₂', contact: 'door contact', wifi: 'Wi-Fi count', badge: 'badge reader', environment: 'environment only',
};

/** The class that the kinds of value speak for. */
function likely(device) {
  const kinds = new Set((device.last ?? []).map((v) => v[0]));
  const motion = (device.last ?? []).some((v) => v[1] === 'motion-state');
  if (kinds.has('count_in') || kinds.has('count_out') || kinds.has('flow')) return 'line-tof';
  if (kinds.has('count_abs') || kinds.has('target_count')) return 'zone-count';
  if (kinds.has('presence')) return motion ? 'pir' : 'mmwave';
  if (kinds.has('co2_ppm')) return 'co2';
  if (kinds.has('contact')) return 'contact';
  if (kinds.has('device_count')) return 'wifi';
  return 'environment';
}

const slug = (address) => address.replace(/^[a-z0-9]+[:/]/i, '').replace(/[^A-Za-z0-9]+/g, '-').replace(/^-+|-+$/g, '').toLowerCase().slice(0, 64) || 'sensor';

export class HeadcountDevices extends LitElement {
  static properties = { site: { attribute: false }, devices: { attribute: false }, errors: { state: true }, busy: { state: true } };

  static styles = [base, controls, css`
    ul { display: grid; gap: .7rem; }
    li { border: 1px solid var(--line); border-radius: 11px; padding: .8rem; background: var(--surface); display: grid; gap: .6rem; }
    .address { font-weight: 600; overflow-wrap: anywhere; }
    form { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .6rem; align-items: end; }
    .buttons { display: flex; gap: .5rem; }
    .error { color: var(--bad); font-size: .85rem; }
  `];

  constructor() {
    super();
    this.errors = {};
  }

  render() {
    return html`<ul>${repeat(this.devices ?? [], (d) => d.address, (d) => this.item(d))}</ul>`;
  }

  item(d) {
    const guess = likely(d);
    return html`<li>
      <div>
        <div class="address">${d.address}</div>
        <div class="muted small">${join(d.driver, `first heard ${age(d.first_seen)} ago`, some(d.readings, 'reading'))}</div>
        <div class="small">${(d.last ?? []).map(value).join(', ')}</div>
      </div>
      <form @submit=${(e) => this.approve(e, d)} aria-label="Assign ${d.address}">
        <label>Sensor id<input name="id" required pattern="[A-Za-z0-9][A-Za-z0-9._\\-]*" maxlength="64" .defaultValue=${slug(d.address)} autocomplete="off"></label>
        <label>Observes<select name="place" required><option value="">choose…</option>${this.places()}</select></label>
        <label>Kind of sensor<select name="class">${Object.entries(classes).map(([c, text]) => html`<option value=${c} ?selected=${c === guess}>${text}</option>`)}</select></label>
        <div class="buttons">
          <button class="primary" ?disabled=${this.busy === d.address}>Assign</button>
          <button type="button" ?disabled=${this.busy === d.address} @click=${() => this.ignore(d)}>Ignore</button>
        </div>
      </form>
      ${this.errors[d.address] ? html`<div class="error" role="alert">${this.errors[d.address]}</div>` : nothing}
    </li>`;
  }

  places() {
    const spaces = this.site.spaces ?? [];
    const inside = (id) => spaces.filter((s) => s.parent === id && s.kind !== 'floor' && s.kind !== 'building');
    const groups = spaces.map((s) => [title(s), inside(s.id)]).filter(([, list]) => list.length);
    const loose = spaces.filter((s) => (s.kind === 'room' || s.kind === 'zone') && !s.parent);
    if (loose.length) groups.push(['Spaces', loose]);
    const doors = [...new Set([...this.site.doors.map((d) => d.id), ...this.site.sensors.map((s) => s.door).filter(Boolean)])].sort();
    return html`
      ${groups.map(([name, list]) => html`<optgroup label=${name}>${list.map((s) => html`<option value="space:${s.id}">${title(s)}</option>`)}</optgroup>`)}
      ${doors.length ? html`<optgroup label="Doors">${doors.map((d) => html`<option value="door:${d}">${d}</option>`)}</optgroup>` : nothing}`;
  }

  approve(e, d) {
    e.preventDefault();
    const form = new FormData(e.target);
    const [kind, ...id] = form.get('place').split(':');
    return this.send(d, 'approve', { id: form.get('id'), class: form.get('class'), [kind]: id.join(':') });
  }

  ignore(d) { return this.send(d, 'ignore'); }

  async send(d, verb, body) {
    this.busy = d.address;
    try {
      await this.site.post(`devices/${encodeURIComponent(d.address)}/${verb}`, body);
      this.errors = { ...this.errors, [d.address]: '' };
      this.site.fetch('devices', 'sensors');
    } catch (err) {
      this.errors = { ...this.errors, [d.address]: err.message };
    }
    this.busy = '';
  }
}

customElements.define('headcount-devices', HeadcountDevices);
