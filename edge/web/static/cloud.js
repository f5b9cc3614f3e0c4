// What only a cloud's page has; a hub's never loads it.
import './bar.js';
import './desired.js';
import './login.js';
export { listen } from './notices.js';
export { session } from './session.js';
export { views } from './views.js';
