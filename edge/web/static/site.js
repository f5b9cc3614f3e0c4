// The state of one site as the page knows it: filled by the live stream, told to listeners.
import { Refused, Unauthorised, follow, request } from './client.js';

const statusEvery = 5_000; // ms
const gather = 300; // ms; several events that ask for the same list make one request

/** Fires "change" after each change and "unauthorised" when a token is needed. */
export class Site extends EventTarget {
  /** base is the API's path of the site: "v1" on a hub, "v1/sites/ID" on a cloud. */
  constructor(base, id) {
    super();
    this.base = base;
    this.id = id; // on a cloud only
    this.name = '';
    this.spaces = null; // null until the first answer
    this.alerts = [];
    this.sensors = [];
    this.devices = [];
    this.doors = [];
    this.domains = []; // those that it belongs to; on a cloud only
    this.status = null;
    this.connected = null; // null until known
    this.missing = false; // the server knows no such site
    this.heard = null; // when the stream last said something, ms
    this.revisions = 0; // counts what makes histories out of date
    this.wanted = new Set();
    this.stop = new AbortController();
  }

  start() {
    const paths = [`${this.base}/stream`];
    if (this.id) paths.push(`v1/stream?site=${encodeURIComponent(this.id)}`);
    follow(paths, {
      signal: this.stop.signal,
      onEvent: (e) => this.take(e),
      onState: (up) => { this.connected = up; this.changed(); },
      onUnauthorised: () => this.unauthorised(),
    });
    this.pollStatus();
  }

  close() { this.stop.abort(); }

  changed() { this.dispatchEvent(new Event('change')); }

  unauthorised() {
    this.close();
    this.dispatchEvent(new Event('unauthorised'));
  }

  get(path) { return request(`${this.base}/${path}`, { signal: this.stop.signal }); }

  async post(path, body) {
    try {
      return await request(`${this.base}/${path}`, { method: 'POST', body });
    } catch (err) {
      if (err instanceof Unauthorised) this.unauthorised();
      throw err;
    }
  }

  take(e) {
    this.heard = Date.now();
    if (e.type === 'snapshot') this.begin(e.data);
    else if (!this.id || !e.data.site || e.data.site === this.id) this.apply(e.type, e.data.subject, e.data.data ?? {});
    this.changed();
  }

  begin(state) {
    this.revisions++;
    this.name = state.name || state.site || this.name;
    this.spaces = state.spaces;
    this.alerts = state.alerts ?? [];
    this.sensors = state.sensors ?? [];
    this.devices = state.devices ?? [];
    this.doors = state.doors ?? [];
  }

  apply(type, subject, data) {
    if (type === 'occupancy.changed' && data.state) {
      this.spaces = (this.spaces ?? []).map((s) => (s.id === subject ? { ...s, occupancy: data } : s));
    } else if (type.startsWith('alert.') && data.id) {
      this.alerts = [data, ...this.alerts.filter((a) => a.id !== data.id)];
    } else if (type.startsWith('alert.')) {
      this.fetch('alerts');
    } else if (type === 'occupancy.revised' || type === 'correction') {
      this.revisions++;
      this.fetch('spaces');
    } else if (type === 'sensor.status') {
      this.fetch('sensors');
    } else if (type === 'device.status') {
      this.fetch('devices', 'sensors');
    } else if (type === 'config.applied') {
      this.fetch('spaces', 'sensors', 'devices', 'alerts');
    }
  }

  /** Fetches lists again, soon and once for all who ask meanwhile. */
  fetch(...lists) {
    if (!this.wanted.size) setTimeout(() => this.fetchWanted(), gather);
    for (const l of lists) if (!this.id || l !== 'devices') this.wanted.add(l); // a cloud has none
  }

  async fetchWanted() {
    const lists = [...this.wanted];
    this.wanted.clear();
    await Promise.all(lists.map(async (l) => {
      try {
        this[l] = (await this.get(l))[l];
      } catch (err) {
        if (err instanceof Unauthorised) this.unauthorised();
        else if (!this.stop.signal.aborted && !(err instanceof Refused && err.status === 404)) this.retryLater(l);
      }
    }));
    this.changed();
  }

  retryLater(list) { setTimeout(() => this.stop.signal.aborted || this.fetch(list), statusEvery); }

  async pollStatus() {
    while (!this.stop.signal.aborted) {
      try {
        this.status = await this.get('status');
        if (this.id && !this.domains.length) this.domains = (await this.get('facts')).domains ?? [];
        this.fetch('sensors', ...(this.id ? [] : ['devices'])); // when each was last heard is no event
        this.changed();
      } catch (err) {
        if (err instanceof Refused && err.status === 404) {
          this.missing = true;
          return this.changed();
        }
      }
      await new Promise((done) => setTimeout(done, statusEvery));
    }
  }
}
