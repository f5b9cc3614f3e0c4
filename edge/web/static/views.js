// The views of a cloud's page, by the first part of the address: #/orders/ID shows the view
// "orders" of ID. Each is loaded when it is first shown.
import { html } from './vendor/lit/lit.js';
import { session } from './session.js';

/** In the order of the menu; those without a name are not in it. */
export const views = {
  inbox: { load: () => import('./inbox.js'), show: () => html`<headcount-inbox></headcount-inbox>` },
};

/** The entries of the menu for whoever is logged in: [address, name]. */
export const menu = () => [['', 'Sites'], ...Object.entries(views).filter(([, v]) => v.name && (v.may?.(session) ?? true)).map(([path, v]) => [path, v.name])];
