// Looks at the page as people do. Arguments: one JSON object, see browser_test.go.
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const env = JSON.parse(process.argv[2]);
const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const browser = await chromium.launch({ executablePath: env.browser, args: flags });

const control = async (path, body = {}) => {
  const res = await fetch(`${env.control}${path}`, { method: 'POST', body: JSON.stringify(body) });
  assert.ok(res.ok, `${path}: ${await res.text()}`);
};

/** A page whose complaints are collected. */
async function open(url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const complaints = [];
  page.on('pageerror', (e) => complaints.push(e.message));
  page.on('console', (m) => {
    if (m.type() !== 'error' && m.type() !== 'warning') return;
    if (options.offlineExpected && /ERR_|Failed to fetch|network error/i.test(m.text())) return;
    if (options.refusalExpected && m.text().includes(options.refusalExpected)) return;
    complaints.push(m.text());
  });
  await page.goto(url);
  return { page, complaints, close: () => context.close() };
}

const card = (page, id) => page.locator(`headcount-space[data-space="${id}"]`);
const count = (page, id) => card(page, id).locator('.count');
const shows = (locator, text) => locator.filter({ hasText: text }).first().waitFor();
const shot = async (page, name) => { if (env.shots) await page.screenshot({ path: `${env.shots}/${name}.png`, fullPage: true }); };

const checks = {
  async 'rooms are shown by floor, unknown is not 0'() {
    const { page, complaints, close } = await open(env.hub);
    await shows(count(page, 'canteen'), /^33$/);
    assert.equal(await page.locator('headcount-space').count(), 14);
    assert.equal(await page.getByRole('heading', { name: /Floor 2/ }).count(), 1);
    assert.equal(await count(page, 'lab').textContent(), '?');
    assert.match(await card(page, 'lab').getByRole('button').textContent(), /unknown/);
    assert.doesNotMatch(await card(page, 'lab').textContent(), /\b0\b/);
    assert.equal(await card(page, 'lab').locator('svg').count(), 0);
    assert.equal(await count(page, 'room-201').textContent(), '0'); // vacant is 0
    await card(page, 'canteen').getByRole('button', { name: 'Canteen: 33 people, between 29 and 38, capacity 80' }).waitFor();
    assert.equal(await page.title(), 'Oslo HQ · Headcount');
    assert.equal(await page.locator('headcount-demo').count(), 0);
    await shot(page, 'hub');
    assert.deepEqual(complaints, []);
    await close();
  },

  async 'counts change without a reload, also back to unknown'() {
    const { page, complaints, close } = await open(env.hub);
    await shows(count(page, 'canteen'), /^33$/);
    await page.evaluate(() => { window.sameDocument = true; });
    await control('/set', { space: 'canteen', count: 57 });
    await shows(count(page, 'canteen'), /^57$/);
    await control('/set', { space: 'canteen', count: null });
    await shows(count(page, 'canteen'), /^\?$/);
    await control('/set', { space: 'canteen', count: 33 });
    await shows(count(page, 'canteen'), /^33$/);
    assert.ok(await page.evaluate(() => window.sameDocument));
    assert.deepEqual(complaints, []);
    await close();
  },

  async 'an alert is acknowledged, here and on another page'() {
    const one = await open(env.hub), two = await open(env.hub, { viewport: { width: 390, height: 800 } });
    const button = (p) => p.getByRole('button', { name: /Acknowledge: Tromsø is over capacity/ });
    await button(two.page).waitFor();
    await button(one.page).click();
    for (const { page, complaints, close } of [one, two]) {
      await shows(page.locator('headcount-alerts li.acknowledged'), /acknowledged by local/);
      assert.equal(await button(page).count(), 0);
      assert.deepEqual(complaints, []);
      await close();
    }
  },

  async 'a device is assigned to a room'() {
    const { page, complaints, close } = await open(env.hub);
    const form = page.getByRole('form', { name: 'Assign zigbee2mqtt/pir kitchen' });
    await form.getByLabel('Observes').selectOption({ label: 'Canteen' });
    assert.equal(await form.getByLabel('Kind of sensor').inputValue(), 'pir');
    await form.getByLabel('Sensor id').fill('pir-canteen');
    await form.getByRole('button', { name: 'Assign' }).click();
    await form.waitFor({ state: 'detached' });
    await page.locator('summary', { hasText: 'Sensors' }).click();
    await page.getByRole('rowheader', { name: 'pir-canteen' }).waitFor();
    assert.deepEqual(complaints, []);
    await close();
  },

  async 'details show the history; the keyboard is enough'() {
    const { page, complaints, close } = await open(env.hub, { colorScheme: 'dark' });
    await card(page, 'canteen').getByRole('button').focus();
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog', { name: 'Canteen' });
    await dialog.locator('canvas').waitFor();
    await dialog.getByRole('button', { name: '7 d' }).click();
    await dialog.locator('canvas').waitFor();
    await dialog.getByText('line-canteen').waitFor();
    await shot(page, 'detail');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await page.goto(`${env.hub}/#/space/lab`);
    await page.getByRole('dialog').getByText('nothing was known in this time', { exact: true }).waitFor();
    assert.deepEqual(complaints, []);
    await close();
  },

  async 'a narrow page has no sideways scrolling'() {
    for (const width of [320, 390]) {
      const { page, close } = await open(env.hub, { viewport: { width, height: 800 } });
      await shows(count(page, 'canteen'), /^33$/);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(over <= 0, `${over} px too wide at ${width}`);
      const sticksOut = await page.evaluate(() => [...document.querySelector('headcount-app').shadowRoot.querySelectorAll('headcount-space')].filter((c) => {
        const box = c.getBoundingClientRect();
        return [...c.shadowRoot.querySelectorAll('svg, .line span, .count')].some((x) => x.getBoundingClientRect().right > box.right);
      }).map((c) => c.dataset.space));
      assert.deepEqual(sticksOut, []);
      await shot(page, `narrow-${width}`);
      await close();
    }
  },

  async 'the state of the uplink is told'() {
    const { page, complaints, close } = await open(env.hub);
    await page.getByText('in sync').waitFor();
    await control('/offline');
    await page.getByText('offline, buffering').waitFor();
    await shows(page.locator('.sync'), /11 d left · oldest unsent 2 h · no route to host/);
    assert.deepEqual(complaints, []);
    await close();
  },

  async 'a server restart is survived, and told meanwhile'() {
    const { page, complaints, close } = await open(env.hub, { offlineExpected: true });
    await shows(count(page, 'lobby'), /^7$/);
    await control('/stop');
    await page.getByText('Connection to the server lost').waitFor();
    await control('/set', { space: 'lobby', count: 19 }); // while nobody could tell the page
    await control('/start');
    await shows(count(page, 'lobby'), /^19$/);
    await page.getByText('Connection to the server lost').waitFor({ state: 'detached' });
    assert.deepEqual(complaints, []);
    await close();
  },

  async 'a token is asked for, kept for the tab and out of the address'() {
    const { page, complaints, close } = await open(env.guarded, { refusalExpected: '401' });
    const dialog = page.getByRole('dialog', { name: 'Access token' });
    await dialog.getByLabel('Token').fill('wrong-wrong-wrong-wrong');
    await page.keyboard.press('Enter');
    await dialog.getByText('does not take this token').waitFor();
    await dialog.getByLabel('Token').fill(env.token);
    await page.keyboard.press('Enter');
    await shows(count(page, 'canteen'), /^33$/);
    assert.ok(!page.url().includes(env.token));
    await page.reload();
    await shows(count(page, 'canteen'), /^33$/);
    assert.deepEqual(complaints, []);
    await close();
  },

  async 'a simulation shows the truth beside the estimate and its controls'() {
    const { page, complaints, close } = await open(env.demo);
    await shows(card(page, 'lobby'), /truth 8/);
    await shows(card(page, 'lab'), /truth 2/);
    await page.getByRole('button', { name: 'Cut the cloud link' }).click();
    await page.getByText('cloud link cut').waitFor();
    await page.getByRole('button', { name: 'Restore the link' }).click();
    await page.getByText('cloud link up').waitFor();
    assert.deepEqual(complaints, []);
    await close();
  },

  async 'a cloud lists its sites and shows one'() {
    const { page, complaints, close } = await open(env.cloud, { refusalExpected: '404' }); // it has no stream per site
    await shows(page.locator('headcount-sites li'), /Oslo HQ\s*live[\s\S]*93 people/);
    await shows(page.locator('headcount-sites li'), /Bergen\s*stale[\s\S]*people unknown/);
    await page.getByRole('link', { name: /Oslo HQ/ }).click();
    await shows(count(page, 'canteen'), /^33$/);
    await shows(page.locator('.sync'), /stale · hub last heard 1 h ago/);
    await control('/set', { space: 'canteen', count: 34 });
    await shows(count(page, 'canteen'), /^34$/);
    await page.getByRole('link', { name: 'Sites' }).click();
    await page.getByRole('link', { name: /Bergen/ }).waitFor();
    assert.deepEqual(complaints, []);
    await close();
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok: ${name}`);
  } catch (err) {
    failed++;
    console.log(`FAILED: ${name}\n${err.stack ?? err}`);
  }
}
await browser.close();
process.exit(failed ? 1 : 0);
