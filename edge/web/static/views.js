// The views of a cloud's page, by the first part of the address: #/orders/ID shows the view
// "orders" of ID. Each is loaded when it is first shown.
import { html } from './vendor/lit/lit.js';
import { session } from './session.js';

/** In the order of the menu; those without a name are not in it. */
export const views = {
  orders: {
    name: 'Work orders', load: () => Promise.all([import('./orders.js'), import('./order.js')]),
    show: ([id]) => (id ? html`<headcount-order order=${id}></headcount-order>` : html`<headcount-orders></headcount-orders>`),
  },
  usage: { name: 'Use', load: () => import('./usage.js'), show: () => html`<headcount-usage></headcount-usage>` },
  people: { name: 'People', may: (s) => s.mayHere('operator'), load: () => import('./people.js'), show: () => html`<headcount-people></headcount-people>` },
  alerting: { name: 'Notifications', may: (s) => s.mayHere('operator'), load: () => import('./routing.js'), show: () => html`<headcount-routing></headcount-routing>` },
  ask: { name: 'Ask', load: () => import('./ask.js'), show: () => html`<headcount-ask></headcount-ask>` },
  services: { name: 'Services', load: () => import('./services.js'), show: () => html`<headcount-services></headcount-services>` },
  inbox: { load: () => import('./inbox.js'), show: () => html`<headcount-inbox></headcount-inbox>` },
  account: { load: () => import('./account.js'), show: () => html`<headcount-account></headcount-account>` },
};

/** The entries of the menu for whoever is logged in: [address, name]. */
export const menu = () => [['', 'Sites'], ...Object.entries(views).filter(([, v]) => v.name && (v.may?.(session) ?? true)).map(([path, v]) => [path, v.name])];
