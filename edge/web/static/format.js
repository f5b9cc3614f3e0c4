// How values are written for people. Unknown is never written as a number.

const minute = 60, hour = 3600, day = 86400;

/** Seconds as the two largest units: "11 d 4 h", "2 h 5 min", "40 s". */
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < minute) return `${s} s`;
  if (s < hour) return `${Math.floor(s / minute)} min`;
  const [a, unit, b, sub] = s < day
    ? [Math.floor(s / hour), 'h', Math.floor((s % hour) / minute), 'min']
    : [Math.floor(s / day), 'd', Math.floor((s % day) / hour), 'h'];
  return b && a < 10 ? `${a} ${unit} ${b} ${sub}` : `${a} ${unit}`;
}

/** Tells whether an ISO time stands for a time; the year 1 stands for none. */
export const timed = (iso) => Boolean(iso) && !iso.startsWith('0001-');

/** Time since an ISO time, or "" when there is none. */
export function age(iso, now = Date.now()) {
  return timed(iso) ? duration((now - Date.parse(iso)) / 1000) : '';
}

export function clock(iso) {
  const t = new Date(iso);
  const today = t.toDateString() === new Date().toDateString();
  return t.toLocaleString([], today ? { timeStyle: 'short', hourCycle: 'h23' } : { dateStyle: 'medium', timeStyle: 'short', hourCycle: 'h23' });
}

export const known = (o) => Boolean(o) && o.state !== 'unknown' && typeof o.count === 'number';

/** "6–9", or "" when the interval says no more than the count. */
export function interval(o) {
  if (!known(o) || typeof o.low !== 'number' || typeof o.high !== 'number') return '';
  return o.low === o.high ? '' : `${o.low}–${o.high}`;
}

/** One sentence for screen readers. */
export function sentence(space) {
  const o = space.occupancy, name = title(space);
  if (!known(o)) return `${name}: occupancy unknown`;
  const between = interval(o) ? `, between ${o.low} and ${o.high}` : '';
  const of = space.capacity ? `, capacity ${space.capacity}` : '';
  const quality = o.quality === 'good' ? '' : `, quality ${o.quality}`;
  return `${name}: ${people(o.count)}${between}${of}${quality}`;
}

/** A probability in words; the ends are never certain. */
export const likely = (p) => (p > 0.99 ? 'over 99 % likely' : p < 0.01 ? 'under 1 % likely' : `${Math.round(100 * p)} % likely`);

export const people = (n) => (n === 1 ? '1 person' : `${n} people`);
export const some = (n, one, many = `${one}s`) => `${n.toLocaleString()} ${n === 1 ? one : many}`;
export const title = (thing) => thing.name || thing.id;

const units = {
  co2_ppm: ['CO₂', 'ppm'], temperature_c: ['temperature', '°C'], humidity_pct: ['humidity', '%'], illuminance_lux: ['light', 'lx'],
  battery_v: ['battery', 'V'], battery_pct: ['battery', '%'], distance_mm: ['distance', 'mm'], pressure_hpa: ['pressure', 'hPa'], signal_dbm: ['signal', 'dBm'],
  count_in: ['in', ''], count_out: ['out', ''], count_abs: ['count', ''], target_count: ['targets', ''], presence: ['presence', ''],
};

/** A value as the API gives it, ["kind","semantics",value], in words. */
export function value([kind, , v]) {
  const [name, unit] = units[kind] ?? [kind.replaceAll('_', ' '), ''];
  const text = v === true ? 'yes' : v === false ? 'no' : v === null ? '?' : typeof v === 'number' ? String(Math.round(v * 100) / 100) : v;
  return `${name} ${text}${unit && ' ' + unit}`;
}

/** Bytes as "3.2 MB". */
export function size(bytes) {
  const steps = ['B', 'kB', 'MB', 'GB', 'TB'];
  let n = bytes, i = 0;
  for (; n >= 1000 && i < steps.length - 1; i++) n /= 1000;
  return `${i && n < 10 ? n.toFixed(1) : Math.round(n)} ${steps[i]}`;
}

/** Records are always some seconds on the way; younger ones do not mean that the cloud is behind. */
const underWay = 15; // s

const behind = (oldest, now) => (Date.parse(now) - Date.parse(oldest)) / 1000 >= underWay;

/** What the sync line says of a status: its text and its tone. A cloud tells of the hub from without. */
export function sync(status) {
  if (!status.uplink) return fromCloud(status);
  const up = status.uplink, lanes = Object.values(status.lanes);
  if (!up.configured) return { tone: '', text: 'local only', detail: 'no cloud is configured' };
  const backlog = lanes.reduce((n, l) => n + l.backlog_records, 0);
  const oldest = lanes.map((l) => l.oldest_unsent).filter(Boolean).sort()[0];
  const waiting = oldest ? `oldest unsent ${age(oldest, Date.parse(status.now))}` : '';
  if (up.connected) {
    if (!backlog || (oldest && !behind(oldest, status.now))) return { tone: 'ok', text: 'in sync', detail: up.reason ?? '' };
    return { tone: '', text: 'catching up', detail: join(`${some(backlog, 'record')} to send`, waiting) };
  }
  const left = status.horizon_s == null ? '' : `${duration(status.horizon_s)} left`;
  return { tone: 'warn', text: 'offline, buffering', detail: join(left, waiting, (up.reason ?? '').replace(/^offline: /, '')) };
}

function fromCloud(status) {
  const heard = status.last_heartbeat ? `hub last heard ${age(status.last_heartbeat, Date.parse(status.now))} ago` : 'hub never heard';
  if (status.stale) return { tone: 'warn', text: 'stale', detail: heard };
  const beat = status.heartbeat;
  const oldest = beat && [beat.events?.oldest_unsent, beat.readings?.oldest_unsent].filter(Boolean).sort()[0];
  if (status.backlog && (!oldest || behind(oldest, beat.time))) return { tone: '', text: 'catching up', detail: `${some(status.backlog, 'record')} behind` };
  return { tone: 'ok', text: 'in sync', detail: '' };
}

export const join = (...parts) => parts.filter(Boolean).join(' · ');
