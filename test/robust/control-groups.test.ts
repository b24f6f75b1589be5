// The limits of control groups: of every version, of every ancestor, and where a container sees only a part of them.
import t from 'tap'
import fs from 'node:fs'
import { dirname, join } from 'node:path'
import { loadAddon } from '../../dist/native.js'
import { run } from '../fixtures/child'
import { full } from '../fixtures/tier'
import { SANITIZED, scratch, tinyModel } from '../fixtures/tiny'

const MB = 1e6
const UNLIMITED = '9223372036854771712' // as version 1 says it

/** Writes made-up files and reads the limits from them. */
function limits(files: Record<string, string>) {
  const root = fs.mkdtempSync(join(scratch, 'root-'))
  const meminfo = `MemTotal: 4000000 kB\nMemFree: 1 kB\nMemAvailable: 3000000 kB\n`
  for (const [path, text] of Object.entries({ 'proc/meminfo': meminfo, ...files })) {
    fs.mkdirSync(dirname(join(root, path)), { recursive: true })
    fs.writeFileSync(join(root, path), text)
  }
  const { availableBytes, limitBytes, why, threads } = loadAddon().limits(root)
  return { available: availableBytes / MB, limit: limitBytes / MB, why: why.replaceAll(root, ''), threads }
}

const V2_MOUNT = '30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n'
const group2 = (path: string, files: Record<string, string>) =>
  Object.fromEntries(Object.entries(files).map(([name, text]) => [`sys/fs/cgroup${path}/${name}`, `${text}\n`]))
const stat2 = (cached: number) => `anon 7\nfile ${cached}\ninactive_file ${cached}\nactive_file 0`

t.test('no control group, or none with a limit', async (t) => {
  const machine = { available: 3072, limit: 4096, why: '' }
  t.match(limits({}), machine)
  t.match(limits({ 'proc/self/cgroup': '0::/\n', 'proc/self/mountinfo': V2_MOUNT }), machine)
  const files = group2('/a', {
    'memory.max': 'max',
    'memory.high': 'max',
    'memory.current': '5',
    'cpu.max': 'max 100000',
  })
  const { threads } = limits({})
  t.match(limits({ 'proc/self/cgroup': '0::/a\n', 'proc/self/mountinfo': V2_MOUNT, ...files }), { ...machine, threads })
})

t.test('version 2: the group and every ancestor', async (t) => {
  const tree = (own: Record<string, string>, parent: Record<string, string>, top: Record<string, string>) => ({
    'proc/self/cgroup': '0::/top/parent/own\n',
    'proc/self/mountinfo': `21 20 0:5 / /proc rw - proc proc rw\n${V2_MOUNT}`,
    ...group2('/top/parent/own', { 'memory.max': 'max', ...own }),
    ...group2('/top/parent', parent),
    ...group2('/top', top),
  })
  const usage = (used: number, cached: number) => ({
    'memory.current': `${used * MB}`,
    'memory.stat': stat2(cached * MB),
  })
  t.match(limits(tree({ 'memory.max': `${400 * MB}`, ...usage(150, 50) }, {}, {})), {
    available: 300,
    limit: 400,
    why: ' (/sys/fs/cgroup/top/parent/own/memory.max allows 381.5 MiB, 95.4 MiB of them are used)',
  })
  t.match(limits(tree({}, { 'memory.max': `${400 * MB}`, ...usage(150, 0) }, {})), {
    available: 250,
    limit: 400,
    why: /parent\/memory\.max/,
  })
  t.match(limits(tree({}, {}, { 'memory.max': `${400 * MB}`, ...usage(150, 0) })), {
    available: 250,
    why: /top\/memory\.max/,
  })
  t.match(
    limits(
      tree({ 'memory.max': `${300 * MB}`, ...usage(10, 0) }, { 'memory.max': `${900 * MB}`, ...usage(800, 0) }, {}),
    ),
    { available: 100, limit: 900, why: /top\/parent\/memory\.max/ },
    'the least room counts, not the lowest limit',
  )
  t.match(
    limits(tree({ 'memory.max': `${900 * MB}`, 'memory.high': `${500 * MB}`, ...usage(100, 0) }, {}, {})),
    { available: 400, limit: 500, why: /memory\.high/ },
    'beyond memory.high everything stands still',
  )
  t.match(
    limits(
      tree(
        { 'memory.max': `${400 * MB}`, 'memory.swap.max': 'max', 'memory.swap.current': '0', ...usage(100, 0) },
        {},
        {},
      ),
    ),
    { available: 300 },
    'nobody computes in swap',
  )
  t.match(
    limits(tree({ 'memory.max': `${400 * MB}`, ...usage(500, 0) }, {}, {})),
    { available: 0 },
    'never below nothing',
  )
  t.match(limits(tree({ 'memory.max': '0', ...usage(0, 0) }, {}, {})), { available: 0, limit: 0 })
})

const V1_MOUNTS =
  '35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n' +
  '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n'
const memory1 = (path: string, limit: string, used: number, more: Record<string, string> = {}) =>
  Object.fromEntries(
    Object.entries({ 'memory.limit_in_bytes': limit, 'memory.usage_in_bytes': `${used * MB}`, ...more }).map(
      ([name, text]) => [`sys/fs/cgroup/memory${path}/${name}`, `${text}\n`],
    ),
  )

t.test('version 1: the group and every ancestor, swap and what cannot be seen', async (t) => {
  const self = { 'proc/self/cgroup': '5:memory:/a/b\n4:cpu,cpuacct:/a/b\n', 'proc/self/mountinfo': V1_MOUNTS }
  t.match(limits({ ...self, ...memory1('/a/b', `${400 * MB}`, 100), ...memory1('/a', UNLIMITED, 300) }), {
    available: 300,
    limit: 400,
    why: /memory\/a\/b\/memory\.limit_in_bytes/,
  })
  t.match(limits({ ...self, ...memory1('/a/b', UNLIMITED, 100), ...memory1('/a', `${400 * MB}`, 350) }), {
    available: 50,
    why: /memory\/a\/memory\.limit_in_bytes/,
  })
  t.match(
    limits({
      ...self,
      ...memory1('/a/b', `${400 * MB}`, 100, {
        'memory.memsw.limit_in_bytes': `${450 * MB}`,
        'memory.memsw.usage_in_bytes': `${350 * MB}`,
      }),
    }),
    { available: 100, limit: 450, why: /memsw/ },
    'memory and swap together',
  )
  t.match(
    limits({
      ...self,
      ...memory1('/a/b', `${400 * MB}`, 200, {
        'memory.stat': `total_inactive_file ${60 * MB}\ntotal_active_file ${40 * MB}`,
      }),
    }),
    { available: 300 },
    'cached files give way',
  )
  t.match(
    limits({ ...self, ...memory1('/a/b', UNLIMITED, 200, { 'memory.stat': `hierarchical_memory_limit ${500 * MB}` }) }),
    { available: 300, limit: 500, why: /hierarchical_memory_limit/ },
    'an ancestor outside of what is mounted',
  )
})

t.test('mixed: memory in version 1, CPUs in version 2', async (t) => {
  const found = limits({
    'proc/self/cgroup': '5:memory:/a\n0::/user.slice\n',
    'proc/self/mountinfo': V1_MOUNTS + V2_MOUNT.replace('/sys/fs/cgroup', '/sys/fs/cgroup/unified'),
    ...memory1('/a', `${400 * MB}`, 100),
    'sys/fs/cgroup/unified/user.slice/cpu.max': '50000 100000\n',
  })
  t.match(found, { available: 300, threads: 1 })
})

t.test('containers: the mount shows a part, or another name', async (t) => {
  const container = '/docker/4f00'
  const shown = `35 31 0:32 ${container} /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n`
  const inside = memory1('', `${400 * MB}`, 100)
  const at = (path: string, mountinfo = shown) => ({
    'proc/self/cgroup': `5:memory:${path}\n`,
    'proc/self/mountinfo': mountinfo,
  })
  t.match(limits({ ...at(container), ...inside }), { available: 300 }, 'the container itself')
  t.match(
    limits({ ...at(`${container}/nested`), ...inside, ...memory1('/nested', `${200 * MB}`, 50) }),
    { available: 150, why: /memory\/nested\// },
    'a group within it',
  )
  t.match(limits({ ...at(`${container}/nested`), ...inside, ...memory1('/nested', UNLIMITED, 50) }), { available: 300 })
  t.match(limits({ ...at('/docker/4f00ff'), ...inside }), { available: 300 }, 'a path that only begins alike')
  t.match(limits({ ...at('/kubepods/pod1/other'), ...inside }), { available: 300 }, 'a path of another namespace')
  t.match(
    limits({ ...at('/kubepods/pod1/mine'), ...inside, ...memory1('/mine', `${200 * MB}`, 50) }),
    { available: 150 },
    'its end may be found',
  )
  t.match(limits({ ...at('/../../outside'), ...inside }), { available: 300 }, 'outside of the namespace')
  const spaces = '30 23 0:26 / /sys/fs/my\\040groups rw - cgroup2 cgroup2 rw\n'
  t.match(
    limits({
      'proc/self/cgroup': '0::/a: b\n',
      'proc/self/mountinfo': spaces,
      'sys/fs/my groups/a: b/memory.max': `${400 * MB}\n`,
      'sys/fs/my groups/a: b/memory.current': `${100 * MB}\n`,
    }),
    { available: 300 },
    'spaces and colons',
  )
  t.match(limits({ ...at('/a'), 'proc/self/mountinfo': 'nonsense\n - \n1 2 3 - cgroup\n', ...inside }), {
    available: 3072,
  })
})

t.test('CPUs: the smallest quota of all groups, rounded up', async (t) => {
  const machine = limits({}).threads
  const v2 = (own: string, parent: string) =>
    limits({
      'proc/self/cgroup': '0::/a/b\n',
      'proc/self/mountinfo': V2_MOUNT,
      ...group2('/a/b', { 'cpu.max': own }),
      ...group2('/a', { 'cpu.max': parent }),
    }).threads
  const v1 = (own: string, parent: string) =>
    limits({
      'proc/self/cgroup': '4:cpu,cpuacct:/a/b\n',
      'proc/self/mountinfo': V1_MOUNTS,
      'sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us': own,
      'sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us': '100000',
      'sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us': parent,
      'sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us': '100000',
    }).threads
  t.equal(v2('100000 100000', 'max 100000'), 1, '50 % of 2')
  t.equal(v2('max 100000', '100000 100000'), 1, 'an ancestor')
  t.equal(v2('20000 100000', 'max 100000'), 1, 'a fifth of a CPU')
  t.equal(v2('150000 100000', 'max 100000'), Math.min(2, machine), 'one and a half')
  t.equal(v2('6400000 100000', 'max 100000'), machine, 'no more than there are')
  t.equal(v1('100000', '-1'), 1)
  t.equal(v1('-1', '50000'), 1)
  t.equal(v1('-1', '-1'), machine)
})

/** Folders of a real group with a memory limit, and a group within it; nothing where this user may make none. */
function realGroups(): { outer: string; inner: string; limit: string } | undefined {
  for (const [mount, limit] of [
    ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes'],
    ['/sys/fs/cgroup', 'memory.max'],
  ] as const) {
    const outer = join(mount, `iconface-test-${process.pid}`)
    const inner = join(outer, 'inner')
    try {
      fs.mkdirSync(outer)
      if (limit === 'memory.max') fs.writeFileSync(join(outer, 'cgroup.subtree_control'), '+memory')
      fs.mkdirSync(inner)
      if (fs.existsSync(join(inner, limit))) return { outer, inner, limit }
    } catch {
      // Not this one.
    }
    for (const folder of [inner, outer]) if (fs.existsSync(folder)) fs.rmdirSync(folder)
  }
  return undefined
}

/** Joins the group, restores, and says how that ended. */
const IN_GROUP = `
  fs.writeFileSync(args.group + '/cgroup.procs', String(process.pid))
  const model = await IConFace.load(args.folder, { threads: 1, device: 'cpu' })
  const outcomes = []
  for (const size of args.sizes) {
    const face = allocateImage(8, 8)
    outcomes.push(await model.restore(face, [], { steps: 1, size, guidance: 1 }).then(() => 'done', (e) => e.code + ': ' + e.message))
  }
  console.log(JSON.stringify(outcomes))`

t.test('a real group within a group', async (t) => {
  const groups = realGroups()
  if (!groups) {
    t.pass('refused by name', { skip: 'this user may make no control groups' })
    return
  }
  const folder = await tinyModel()
  const { outer, inner, limit } = groups
  t.teardown(() => [inner, outer].forEach((path) => fs.rmdirSync(path)))
  const allow = (path: string, bytes: number) => fs.writeFileSync(join(path, limit), String(Math.round(bytes)))
  const restores = async (sizes: number[]) => {
    const { code, signal, stdout, stderr } = await run(IN_GROUP, { folder, group: inner, sizes })
    t.equal(signal ?? code, 0, `not killed ${stderr}`)
    return JSON.parse(stdout || '[]') as string[]
  }
  const room = SANITIZED ? 1600 * MB : 400 * MB
  const large = SANITIZED ? 2048 : 1024
  allow(outer, room)
  const [small, refused] = await restores([32, large])
  t.equal(small, 'done')
  t.match(
    refused,
    /^ERR_ICONFACE_OUT_OF_MEMORY: this needs [\d.]+ MiB beside the weights, [\d.]+ MiB are free \(.*iconface-test-\d+\/memory\.\S+ allows [\d.]+ MiB, [\d.]+ MiB of them are used\): choose a smaller size/,
  )
  allow(outer, 64 * 1e9)
  allow(inner, room)
  t.match((await restores([large]))[0], /inner\/memory/, 'the group itself')
  // Around the limit a restore is done or refused, never killed.
  const sizes = full ? Array.from({ length: 12 }, (_, i) => 256 + 48 * i) : [384, 448, 512, 576]
  for (const outcome of await restores(sizes)) t.match(outcome, /^(done|ERR_ICONFACE_OUT_OF_MEMORY: )/)
})
