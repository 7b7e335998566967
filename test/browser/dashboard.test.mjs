// The dashboard in headless Chromium: what a person sees, with eyes, a keyboard or a screen reader.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { base, harness, launch, poorContrast, signIn, watch } from './browser.mjs';

const shots = process.env.SCREENSHOTS; // a folder; without it none are taken
let browser, page, seen, token;

before(async () => {
  browser = await launch();
  page = browser.context.pages()[0];
  seen = watch(page);
  token = await harness('POST', '/user', { name: 'viewer' });
});
after(() => browser?.close());

// shoot takes a picture for the docs: of the top of the page, or from the begin of one element to the end of another.
async function shoot(name, from, to) {
  if (!shots) return;
  const path = join(shots, `dashboard-${name}.png`);
  await page.evaluate(() => scrollTo(0, 0));
  if (!from) {
    await page.screenshot({ path });
    return;
  }
  const size = page.viewportSize();
  await page.setViewportSize({ width: size.width, height: 2400 }); // so that nothing is below the header
  const [a, b] = [await from.boundingBox(), await to.boundingBox()];
  await page.screenshot({ path, clip: { x: a.x, y: a.y, width: a.width, height: b.y + b.height - a.y } });
  await page.setViewportSize(size);
}

test('signing in', async () => {
  await page.goto(base);
  assert.equal(await page.title(), 'Sign in · clusterpki');
  const field = page.getByLabel('Token');
  assert.ok(await field.evaluate((e) => e === document.activeElement), 'the field has the focus');
  await field.fill('forged');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').filter({ hasText: 'does not know this token' }).waitFor();
  await shoot('login');
  await signIn(page, token);
  assert.equal(new URL(page.url()).pathname, '/');
  const [cookie] = await browser.context.cookies();
  assert.ok(cookie.httpOnly && cookie.secure && cookie.sameSite === 'Strict' && cookie.name.startsWith('__Host-'), 'the cookie is kept from scripts and other sites');
  assert.equal(await page.evaluate(() => document.cookie), '');
  seen.errors = seen.errors.filter((e) => !e.includes('401')); // the browser's own line for the forged token
});

test('what a screen reader finds', async () => {
  for (const role of ['banner', 'main', 'contentinfo']) assert.equal(await page.getByRole(role).count(), 1, role);
  assert.equal(await page.getByRole('heading', { level: 1 }).count(), 1);
  for (const name of ['Cluster in namespace prod', 'Cluster in namespace staging', 'What expires next', 'What happened', 'What is wrong']) {
    await page.getByRole('heading', { level: 2, name }).waitFor();
    await page.getByRole('region', { name }).waitFor();
  }
  const table = page.getByRole('region', { name: 'Cluster in namespace prod' }).getByRole('table', { name: 'Certificate authorities' });
  const row = table.getByRole('row').filter({ hasText: 'etcd' });
  assert.match(await row.innerText(), /valid from .* UTC to .* UTC, is renewed .* UTC/s, 'the bar is told in words');
  assert.equal(await page.getByRole('log').getAttribute('aria-live'), 'polite');
  await page.getByRole('listitem').filter({ hasText: 'NotFound' }).filter({ hasText: 'error' }).first().waitFor();
});

test('clusters first: searched for, and each a link', async () => {
  const fleet = page.getByRole('region', { name: 'Clusters', exact: true });
  assert.equal(await page.evaluate(() => document.querySelector('#live > section').id), 's.fleet', 'they come first');
  const tile = (name) => fleet.getByRole('link', { name: new RegExp(name) });
  await tile('prod').waitFor();
  await tile('staging').waitFor();
  const search = page.getByRole('searchbox', { name: 'Search clusters' });
  await search.fill('STAG');
  await tile('prod').waitFor({ state: 'hidden' });
  await page.getByRole('status').filter({ hasText: '1 of 2' }).waitFor();
  await page.keyboard.press('Enter');
  assert.equal(new URL(page.url()).hash, '#s.c.staging');
  await search.fill('nothing has this name');
  await tile('staging').waitFor({ state: 'hidden' });
  await search.fill('');
  await tile('prod').click();
  assert.equal(new URL(page.url()).hash, '#s.c.prod');
});

test('the keyboard alone', async () => {
  await page.reload();
  await page.getByRole('status').filter({ hasText: 'Live' }).waitFor();
  const focused = () => page.evaluate(() => {
    const e = document.activeElement;
    return { text: (e.textContent.trim() || e.labels?.[0]?.textContent || '').slice(0, 40), outline: getComputedStyle(e).outlineStyle };
  });
  await page.keyboard.press('Tab');
  assert.equal((await focused()).text, 'Skip to the content');
  const stops = [];
  for (;;) {
    await page.keyboard.press('Tab');
    const at = await focused();
    if (at.text === '' || stops.length > 30) break;
    if (stops.length > 0 && at.text === stops[0]) break;
    assert.notEqual(at.outline, 'none', `the focus on ${at.text} can be seen`);
    stops.push(at.text);
    if (at.text.includes('of CA k8s')) break;
  }
  assert.equal(stops[0], 'Sign out');
  assert.match(stops.at(-1), /certificates.*of CA/s);
  await page.keyboard.press('Enter');
  await page.getByRole('table', { name: 'Certificates of CA' }).first().waitFor();
});

test('a rotation, from phase to phase, without a reload', async () => {
  await page.evaluate(() => {
    window.unchanged = true;
    window.phases = [];
    new MutationObserver(() => {
      for (const e of document.querySelectorAll('[data-ca="prod/k8s"] [aria-current=step]')) {
        if (window.phases.at(-1) !== e.dataset.phase) window.phases.push(e.dataset.phase);
      }
    }).observe(document.getElementById('live'), { subtree: true, childList: true, attributes: true });
  });
  const before = await page.evaluate(() => document.activeElement.closest('details').id);
  await harness('POST', '/edit', { validity: '78840h' });
  const card = page.locator('[data-ca="prod/k8s"]');
  const step = (phase, state) => card.locator(`[data-phase=${phase}][data-state="${state}"]`).waitFor();
  await step('DistributingTrust', 'under way');
  await card.getByRole('progressbar').waitFor();
  await step('Reissuing', 'under way');
  await card.getByRole('row').filter({ hasText: 'k8s-node3' }).first().waitFor(); // who has not acknowledged, and why
  await page.locator('tbody[id="t.prod.k8s"] tr[data-state=Retiring]').waitFor();
  await inEveryDress('rotation');
  await step('WithdrawingTrust', 'under way');
  await card.getByText('Completed after').waitFor();
  for (const phase of ['DistributingTrust', 'Reissuing', 'WithdrawingTrust']) await step(phase, 'done');
  const phases = await page.evaluate(() => window.phases);
  assert.deepEqual(phases, ['DistributingTrust', 'Reissuing', 'WithdrawingTrust']);
  assert.ok(await page.evaluate(() => window.unchanged), 'the page was not loaded again');
  assert.deepEqual(await page.evaluate(() => {
    const d = document.activeElement.closest('details');
    return { id: d?.id, open: d?.open };
  }), { id: before, open: true }, 'the focus and what was open stayed');
  await page.getByRole('log').getByText('generation 2 signs and is trusted alone').waitFor();
});

// inEveryDress looks at the page in light and dark, wide and narrow.
async function inEveryDress(name) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    assert.deepEqual(await poorContrast(page), [], colorScheme);
    await shoot(`${name}-${colorScheme}`);
    const prod = page.getByRole('region', { name: 'Cluster in namespace prod' });
    await shoot(`timeline-${colorScheme}`, prod, prod.locator('.legend'));
  }
  const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.emulateMedia({ colorScheme: 'light' });
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), dark);
}

test('320 pixels', async () => {
  await page.setViewportSize({ width: 320, height: 700 });
  await page.evaluate(() => { for (const d of document.querySelectorAll('details')) d.open = true; });
  const wide = await page.evaluate(() => [...document.querySelectorAll('body *')]
    .filter((e) => !e.closest('.hidden') && e.getBoundingClientRect().right > innerWidth + 0.5 && e.checkVisibility())
    .map((e) => `${e.localName}.${e.className}: ${e.textContent.trim().slice(0, 30)}`));
  assert.deepEqual(wide, [], 'nothing reaches beyond the screen');
  assert.ok(await page.evaluate(() => document.scrollingElement.scrollWidth <= innerWidth), 'no scrolling sideways');
  await page.evaluate(() => { for (const d of document.querySelectorAll('details')) d.open = false; scrollTo(0, 0); });
  await shoot('narrow');
  await page.setViewportSize({ width: 1280, height: 900 });
});

test('less motion', async () => {
  await page.emulateMedia({ reducedMotion: 'reduce' });
  assert.equal(await page.locator('.dot').evaluate((e) => getComputedStyle(e).animationName), 'none');
  await page.emulateMedia({ reducedMotion: 'no-preference' });
});

test('without scripts it is the same, as of when it was loaded', async () => {
  const text = await page.evaluate(async () => (await fetch('/')).text());
  assert.match(text, /generation 1 → 2/);
  assert.match(text, /As of when it was loaded/);
});

test('somebody who may look into one namespace', async () => {
  const own = await harness('POST', '/user', { name: 'staging-viewer', namespace: 'staging' });
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Token').waitFor();
  await signIn(page, own);
  await page.getByText('sees namespace staging').waitFor();
  await page.getByRole('heading', { name: 'Cluster in namespace staging' }).waitFor();
  assert.equal(await page.getByText('prod').count(), 0);
});

test('a token that is revoked', async () => {
  await harness('POST', '/revoke', { name: 'staging-viewer' });
  await page.getByRole('status').filter({ hasText: 'Signed out' }).waitFor();
  seen.errors = seen.errors.filter((e) => !e.includes('401'));
});

test('clusterpki dashboard: a link that is good once', async () => {
  const link = await harness('GET', '/link');
  await page.goto(link);
  assert.equal(new URL(page.url()).pathname, '/');
  await page.getByRole('status').filter({ hasText: 'Live' }).waitFor();
  await page.getByText('Your kubeconfig sees namespace prod').waitFor();
  await page.getByRole('heading', { name: 'Cluster in namespace prod' }).waitFor();
  await browser.context.clearCookies();
  await page.goto(link);
  await page.getByRole('alert').filter({ hasText: 'used already' }).waitFor();
  assert.notEqual(await harness('GET', '/link'), link);
  seen.errors = seen.errors.filter((e) => !e.includes('401'));
});

test('nothing was logged, and no other host was asked', () => {
  assert.deepEqual(seen.errors, []);
  for (const host of seen.hosts) assert.match(host, /^127\.0\.0\.1:\d+$/);
});
