// Uses the pages of a real cloud, with a hub behind it, as people do. Arguments: one JSON object:
// browser, cloud, email, password (an admin), mia {email, password} (a second one), fresh, code (a
// cloud without accounts and its claim code), shots.
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const env = JSON.parse(process.argv[2]);
const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const browser = await chromium.launch({ executablePath: env.browser, args: flags });
const complaints = [];

async function open(url, width = 1280) {
  const page = await (await browser.newContext({ viewport: { width, height: 900 } })).newPage();
  page.setDefaultTimeout(20_000);
  page.on('pageerror', (e) => complaints.push(`${page.url()}: ${e.message}`));
  page.on('console', (m) => {
    const refused = /status of (401|403|409|422|502)|WebSocket connection/.test(m.text()); // the page says what was refused
    if (['error', 'warning'].includes(m.type()) && !refused) complaints.push(`${page.url()}: ${m.text()}`);
  });
  await page.goto(url);
  return page;
}

async function login(page, email, password) {
  await page.getByLabel('Mail address').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.keyboard.press('Enter');
}

const menu = (page, name) => page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name }).click();
const shot = async (page, name) => { if (env.shots) await page.screenshot({ path: `${env.shots}/cloud-${name}.png`, fullPage: true }); };
const fits = async (page) => assert.ok(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth) <= 0, `${page.url()} is too wide for a phone`);

let kari, mia, order;
const checks = {
  async 'the first account is made with the claim code'() {
    const page = await open(env.fresh);
    await page.getByRole('link', { name: 'Make the first account' }).click();
    for (const [label, text] of [['Claim code', 'AAAAA-BBBBB-CCCCC-DDDDD'], ['Id of the organisation', 'acme'], ['Its name', 'Acme'], ['Your mail address', 'ann@example.org'], ['Your name', 'Ann'], ['Password', 'correct horse battery']]) {
      await page.getByLabel(label).fill(text);
    }
    await page.keyboard.press('Enter');
    await page.getByRole('alert').filter({ hasText: 'this is not the claim code' }).waitFor();
    await shot(page, 'claim');
    await page.getByLabel('Claim code').fill(env.code.toLowerCase());
    await page.keyboard.press('Enter');
    await page.getByRole('link', { name: 'Ann' }).waitFor();
    await page.getByText('No site has reported yet.').waitFor();
    await menu(page, 'People');
    await page.getByRole('row', { name: /Ann ann@example.org/ }).waitFor();
    await menu(page, 'Ask');
    await page.getByLabel(/^Question/).fill('Which sites are there?');
    await page.getByRole('form', { name: 'Ask' }).getByRole('button').click();
    await page.getByText('nothing was known').waitFor(); // the model looked at nothing, so what it says does not count
    await shot(page, 'ask');
    await page.context().close();
  },

  async 'a wrong password is refused, the right one is good'() {
    kari = await open(env.cloud);
    await login(kari, env.email, 'not the password');
    await kari.getByRole('alert').filter({ hasText: 'the mail address or the password is wrong' }).waitFor();
    await login(kari, env.email, env.password);
    await kari.getByRole('link', { name: /Simulated building/ }).waitFor();
    assert.deepEqual(await kari.evaluate(() => [document.cookie, ...Object.values(localStorage), ...Object.values(sessionStorage)].join('')), '');
  },

  async 'a login is renewed when its token is gone'() {
    await kari.context().clearCookies({ name: 'headcount_session' });
    await kari.reload();
    await kari.getByRole('link', { name: /Simulated building/ }).waitFor();
    const cookies = (await kari.context().cookies()).map((c) => `${c.name} ${c.httpOnly} ${c.sameSite}`).sort();
    assert.deepEqual(cookies, ['headcount_refresh true Strict', 'headcount_session true Strict']);
  },

  async 'a capacity goes down to the hub, which applies it'() {
    const rule = { alerts: [{ name: 'busy', for_each: 'building', when: 'count > 0', message: '{name} is busy' }] };
    assert.equal(await kari.evaluate((body) => fetch('v1/sites/demo/twin/desired', { method: 'PATCH', headers: { 'If-Match': '"0"' }, body: JSON.stringify(body) }).then((r) => r.status), rule), 200);
    await kari.getByRole('link', { name: /Simulated building/ }).click();
    await kari.getByText('Names and capacities').click();
    await kari.getByLabel('Capacity of office-101').fill('1');
    await kari.getByLabel('Name of office-101').fill('Foyer');
    await kari.getByRole('button', { name: 'Send to the hub' }).click();
    await kari.getByText('revision 2 is desired, the hub runs 2').waitFor();
    await kari.locator('headcount-space[data-space=office-101]', { hasText: 'Foyer' }).waitFor();
    await shot(kari, 'desired');
  },

  async 'an alert becomes a work order'() {
    await kari.getByRole('button', { name: 'Work order for: Simulated building is busy' }).click({ timeout: 60_000 });
    await kari.getByRole('heading', { name: 'Notes' }).waitFor();
    order = kari.url();
    assert.match(order, /#\/orders\/[0-9a-f-]{36}$/);
    await kari.getByText(/^WO-\d{4}-0001$/).waitFor();
  },

  async 'a note is seen by another browser at once, who is mentioned finds it in the inbox'() {
    mia = await open(order, 390);
    await login(mia, env.mia.email, env.mia.password);
    await mia.getByText('Nobody has written anything yet.').waitFor();
    await kari.getByLabel(/^Note/).fill('@mia is the door open?');
    await kari.getByRole('button', { name: 'Write' }).click();
    await mia.getByText('@mia is the door open?').waitFor();
    await mia.getByRole('link', { name: 'Inbox, 1 unread' }).click();
    const item = mia.getByRole('listitem').filter({ hasText: 'is the door open?' });
    await item.waitFor();
    await fits(mia);
    await shot(mia, 'inbox-phone');
    await item.getByRole('link').click();
    await mia.waitForURL(order);
    await mia.getByRole('link', { name: 'Inbox', exact: true }).waitFor(); // nothing is unread
    await mia.getByLabel(/^Note/).fill('yes, somebody wedged it');
    await mia.getByRole('button', { name: 'Write' }).click();
    await kari.getByText('yes, somebody wedged it').waitFor();
  },

  async 'it is worked on until it is closed'() {
    const act = async (name, reason) => {
      await kari.getByRole('group', { name: 'What to do with it' }).getByRole('button', { name }).click();
      const form = kari.getByRole('form', { name });
      if (reason) await form.getByLabel('Reason').fill(reason);
      await form.getByRole('button', { name }).click();
    };
    await kari.getByLabel('Assigned to').selectOption({ label: 'Mia' });
    await mia.getByRole('link', { name: 'Inbox, 1 unread' }).waitFor();
    await act('Start work');
    await kari.getByText('In progress', { exact: true }).first().waitFor();
    await mia.getByText('In progress', { exact: true }).first().waitFor();
    await kari.getByRole('textbox', { name: 'Sub-task' }).fill('take the wedge away');
    await kari.getByRole('button', { name: 'Add', exact: true }).click();
    await kari.getByRole('checkbox', { name: 'take the wedge away' }).waitFor();
    await act('Resolve');
    await kari.getByRole('alert').filter({ hasText: /task/ }).waitFor(); // is still open
    await kari.getByRole('checkbox', { name: 'take the wedge away' }).click();
    await kari.locator('input[type=checkbox]:checked').waitFor();
    await kari.getByLabel('File', { exact: true }).setInputFiles({ name: 'door.txt', mimeType: 'text/plain', buffer: Buffer.from('a wedge, wooden') });
    await kari.getByRole('button', { name: 'Upload' }).click();
    await kari.getByRole('link', { name: 'door.txt' }).waitFor();
    await kari.getByText('not scanned').waitFor();
    await shot(kari, 'order');
    await kari.getByRole('form', { name: 'Resolve' }).getByRole('button').click();
    await act('Close');
    await mia.getByText('Closed', { exact: true }).first().waitFor();
    await fits(mia);
    await shot(mia, 'order-phone');
    await kari.locator('summary', { hasText: 'History' }).click();
    await kari.getByRole('listitem').filter({ hasText: 'moved to Closed' }).waitFor();
    await menu(kari, 'Work orders');
    await kari.getByRole('region', { name: 'Closed' }).getByRole('link').waitFor();
    await shot(kari, 'board');
    await kari.getByRole('button', { name: 'List' }).click();
    await kari.getByRole('cell', { name: /WO-\d{4}-0001/ }).waitFor();
  },

  async 'an order is opened by hand, with the keyboard alone'() {
    await kari.getByRole('button', { name: 'Board' }).focus();
    await kari.keyboard.press('Tab');
    await kari.keyboard.press('Enter');
    const form = kari.getByRole('form', { name: 'New work order' });
    await form.getByLabel('Site').selectOption('demo');
    await form.getByLabel('Space').selectOption({ label: 'Canteen' });
    await form.getByLabel('What is to be done').fill('mend the coffee machine');
    await kari.keyboard.press('Enter');
    await kari.getByText(/^WO-\d{4}-0002 is open\.$/).waitFor();
    await kari.getByRole('row', { name: /mend the coffee machine Open medium demo · canteen/ }).waitFor();
  },

  async 'people are invited, imported and given roles'() {
    await menu(kari, 'People');
    await kari.locator('summary', { hasText: 'Invite somebody' }).click();
    const form = kari.getByRole('form', { name: 'Invite somebody' });
    await form.getByLabel('Mail address').fill('bob@example.org');
    await form.getByLabel('Name').fill('Bob');
    await form.getByRole('button').click();
    await kari.getByRole('row', { name: /Bob bob@example.org.*invited/ }).waitFor();
    await kari.getByLabel('Role of Bob in demo').selectOption('operator');
    await kari.getByText('Bob is operator in demo.').waitFor();
    await kari.locator('summary', { hasText: 'Import from CSV' }).click();
    const file = (text) => kari.getByLabel('File', { exact: true }).setInputFiles({ name: 'people.csv', mimeType: 'text/csv', buffer: Buffer.from(text) });
    await file('email,name,domain,role\nno address,Eve,demo,viewer\n');
    await kari.getByRole('button', { name: 'What would change' }).click();
    await kari.getByRole('alert').filter({ hasText: /line 2, column email/ }).waitFor();
    await file('email,name,domain,role\neve@example.org,Eve,demo,viewer\nbob@example.org,Bob,demo,operator\n');
    await kari.getByRole('button', { name: 'What would change' }).click();
    await kari.getByText('Nothing is changed yet. 1 new, 0 changed, 1 as they are.').waitFor();
    assert.equal(await kari.getByRole('row', { name: /Eve eve@example.org.*invited/ }).count(), 0);
    await kari.getByRole('button', { name: 'Import', exact: true }).click();
    await kari.getByRole('row', { name: /Eve eve@example.org.*invited/ }).waitFor();
    await shot(kari, 'people');
  },

  async 'the token of a service is shown once'() {
    await kari.locator('summary', { hasText: 'Make a token' }).click();
    const form = kari.getByRole('form', { name: 'Make a token' });
    await form.getByLabel('Name').fill('wallboard');
    await form.getByRole('button').click();
    const token = await kari.locator('code.secret').textContent();
    const ask = () => fetch(`${env.cloud}/v1/sites`, { headers: { Authorization: `Bearer ${token}` } });
    assert.equal((await ask()).status, 200);
    await kari.getByRole('button', { name: 'Revoke wallboard' }).click();
    await kari.getByText('The token of wallboard is refused from now on.').waitFor();
    assert.equal((await ask()).status, 401);
  },

  async 'who is deactivated is thrown out'() {
    const begun = Date.now();
    await kari.getByRole('button', { name: 'Deactivate Mia' }).click();
    await kari.getByText('Mia is shut out.').waitFor();
    await mia.getByText('This login has ended. Log in again.').waitFor({ timeout: 60_000 });
    console.log(`thrown out after ${Date.now() - begun} ms`);
    await login(mia, env.mia.email, env.mia.password);
    await mia.getByRole('alert').filter({ hasText: 'this account is deactivated' }).waitFor();
  },

  async 'use is shown, and a report comes as a file'() {
    await menu(kari, 'Use');
    await kari.getByRole('row', { name: /Foyer/ }).waitFor();
    await kari.locator('headcount-chart canvas').waitFor();
    await kari.getByRole('form', { name: 'Make a report' }).getByLabel('As').selectOption('csv');
    await kari.getByRole('button', { name: 'Make' }).click();
    const [download] = await Promise.all([kari.waitForEvent('download'), kari.getByRole('link', { name: 'CSV' }).click()]);
    assert.match(download.suggestedFilename(), /\.csv$/);
    await menu(kari, 'Services');
    await kari.getByRole('row', { name: /headcount-ingest/ }).waitFor();
  },

  async 'who is told of alerts is decided here'() {
    await menu(kari, 'Notifications');
    await kari.locator('summary', { hasText: 'Add a channel' }).click();
    const channel = kari.getByRole('form', { name: 'Add a channel' });
    await channel.getByLabel('Name').fill('desk');
    await channel.getByLabel('Address').fill('http://127.0.0.1:9/hook');
    await channel.getByRole('button').click();
    await kari.getByRole('row', { name: /desk webhook/ }).waitFor();
    await kari.getByRole('button', { name: 'Test desk' }).click();
    await kari.getByRole('alert').waitFor(); // nobody is there
    await kari.reload();
    await kari.locator('summary', { hasText: 'Add a route' }).click();
    const route = kari.getByRole('form', { name: 'Add a route' });
    await route.getByLabel('Name').fill('day');
    await route.getByLabel('Channel').first().selectOption('desk');
    await route.getByLabel('After').fill('15m');
    await route.getByLabel('People').last().selectOption('manager');
    await route.getByRole('button').click();
    await kari.getByRole('row', { name: /day warning and worse at once: desk, every operator after 15m: every manager/ }).waitFor();
    await kari.locator('summary', { hasText: 'Keep quiet' }).click();
    const quiet = kari.getByRole('form', { name: 'Keep quiet for a while' });
    await quiet.getByLabel('Until').fill('2099-01-01T00:00');
    await quiet.getByLabel('Reason').fill('building works');
    await quiet.getByRole('button').click();
    await kari.getByRole('alert').filter({ hasText: 'longer than a year' }).waitFor();
    await quiet.getByLabel('Until').fill(new Date(Date.now() + 86400e3).toISOString().slice(0, 16));
    await quiet.getByRole('button').click();
    await kari.getByRole('row', { name: /building works/ }).waitFor();
    await shot(kari, 'notifications');
    await kari.getByRole('button', { name: 'End' }).click();
    await kari.getByText('Nothing is silenced.').waitFor();
    await kari.getByRole('button', { name: 'Delete day' }).click();
    await kari.getByText('No route:').waitFor();
  },

  async 'preferences are kept, one logs out'() {
    await kari.getByRole('link', { name: 'Demo', exact: true }).click();
    await kari.getByRole('button', { name: 'Add a line' }).click();
    await kari.getByLabel('mail', { exact: true }).uncheck();
    await kari.getByRole('button', { name: 'Save' }).last().click();
    await kari.getByText('Saved.').waitFor();
    await kari.reload();
    await kari.getByLabel('mail', { exact: true }).waitFor();
    assert.equal(await kari.getByLabel('mail', { exact: true }).isChecked(), false);
    await kari.getByRole('button', { name: 'Log out' }).click();
    await kari.getByRole('heading', { name: 'Log in' }).waitFor();
    await kari.reload();
    await kari.getByRole('heading', { name: 'Log in' }).waitFor();
  },
};

for (const [name, check] of Object.entries(checks)) { // each goes on where the one before ended
  try {
    await check();
    console.log(`ok: ${name}`);
  } catch (err) {
    console.log(`FAILED: ${name}\n${err.stack ?? err}`);
    if (kari) await shot(kari, 'failed');
    process.exitCode = 1;
    break;
  }
}
if (complaints.length) {
  console.log('the pages complained:', complaints);
  process.exitCode = 1;
}
await browser.close();
