// Looks at the pages of the demo, a real hub and a real cloud, as people do. Arguments: one
// JSON object: browser, hub, cloud, email, password, shots.
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const env = JSON.parse(process.argv[2]);
const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const browser = await chromium.launch({ executablePath: env.browser, args: flags });
const complaints = [];
let loggedOut = true; // the cloud refuses who is not logged in
let restarting = false; // while the hub restarts it cannot be reached

async function open(url, width = 1280) {
  const page = await (await browser.newContext({ viewport: { width, height: 900 } })).newPage();
  page.setDefaultTimeout(25_000);
  page.on('pageerror', (e) => complaints.push(`${url}: ${e.message}`));
  page.on('console', (m) => {
    if (m.type() !== 'error' && m.type() !== 'warning') return;
    if (restarting && /ERR_/.test(m.text())) return;
    if (loggedOut && m.text().includes('401')) return;
    complaints.push(`${url}: ${m.text()} ${m.location().url}`);
  });
  await page.goto(url);
  await page.evaluate(() => { window.sameDocument = true; });
  return page;
}

/** What the cards show, by space. */
const counts = (page) => page.evaluate(() => Object.fromEntries([...document.querySelector('headcount-app').shadowRoot.querySelectorAll('headcount-space')]
  .map((c) => [c.dataset.space, c.shadowRoot.querySelector('.count')?.textContent])));

/** Waits until a room that shows a number shows another one, in the same document. */
async function moves(page) {
  await page.locator('headcount-space .count', { hasText: /^\d+$/ }).first().waitFor();
  const seen = {}, end = Date.now() + 25_000;
  for (;;) {
    for (const [id, n] of Object.entries(await counts(page))) {
      if (!/^\d+$/.test(n)) continue;
      if (seen[id] !== undefined && seen[id] !== n) return assert.ok(await page.evaluate(() => window.sameDocument));
      seen[id] = n;
    }
    assert.ok(Date.now() < end, `no room changes on ${page.url()}: ${JSON.stringify(seen)}`);
    await page.waitForFunction((before) => JSON.stringify([...document.querySelector('headcount-app').shadowRoot.querySelectorAll('headcount-space')]
      .map((c) => c.shadowRoot.querySelector('.count')?.textContent)) !== before, JSON.stringify(Object.values(await counts(page))));
  }
}

const sync = (page, text) => page.locator('.sync', { hasText: text }).waitFor();
const shot = async (page, name) => { if (env.shots) await page.screenshot({ path: `${env.shots}/${name}.png` }); };

try {
  const hub = await open(env.hub), cloud = await open(env.cloud), phone = await open(env.hub, 390);
  await cloud.getByLabel('Mail address').fill(env.email);
  await cloud.getByLabel('Password').fill(env.password);
  await cloud.keyboard.press('Enter');
  await cloud.getByRole('link', { name: /Simulated building\s*live/ }).click();
  loggedOut = false;
  await Promise.all([moves(hub), moves(cloud), moves(phone)]);
  assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth) <= 0, 'the page is too wide for a phone');
  await sync(hub, 'in sync');
  await sync(cloud, 'in sync');
  await hub.locator('headcount-space[data-space=lobby]', { hasText: /truth \d+/ }).waitFor();
  assert.equal(await cloud.getByText(/truth \d+/).count(), 0);
  await shot(hub, 'demo-hub');
  await shot(phone, 'demo-phone');
  await shot(cloud, 'demo-cloud');

  await phone.locator('headcount-space[data-space=lobby] button').click();
  const dialog = phone.getByRole('dialog', { name: 'Lobby' });
  await dialog.locator('canvas').waitFor();
  assert.equal(await dialog.getByRole('button', { name: '10 min' }).getAttribute('aria-pressed'), 'true'); // the data are some seconds old
  await dialog.locator('.u-over').hover();
  await dialog.getByText(/^\d+:\d+: |line: best count/).waitFor();
  await shot(phone, 'demo-detail');

  await hub.getByRole('button', { name: 'Cut the cloud link' }).click();
  await sync(hub, 'offline, buffering');
  await moves(hub);
  await hub.getByRole('button', { name: 'Restore the link' }).click();
  await sync(hub, 'in sync');

  await hub.getByLabel('Sensor to fail').selectOption('lobby-people');
  await hub.getByRole('button', { name: 'Fail sensor' }).click();
  await hub.locator('summary', { hasText: '1 of 54 not heard' }).click();
  await hub.getByRole('row', { name: /lobby-people silent/ }).waitFor();
  await shot(hub, 'demo-silent');
  await hub.getByRole('button', { name: 'Restore sensor' }).click();
  await hub.locator('summary', { hasText: 'all 54 ok' }).waitFor();

  restarting = true;
  await hub.getByRole('button', { name: 'Restart the hub' }).click();
  await hub.getByText('Connection to the server lost').waitFor();
  await hub.getByText('Connection to the server lost').waitFor({ state: 'detached' });
  restarting = false;
  await moves(hub);
  await cloud.getByRole('button', { name: 'Log out' }).click();
  await cloud.getByRole('heading', { name: 'Log in' }).waitFor();
  assert.deepEqual(complaints, []);
} catch (err) {
  console.log(err.stack ?? err, complaints);
  process.exitCode = 1;
}
await browser.close();
