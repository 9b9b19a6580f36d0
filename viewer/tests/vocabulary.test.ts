import { describe, expect, it } from 'vitest'
import { problemOf } from '../src/api/errors'
import type { ModelOut, SequenceKey, SeriesOut, Vocabulary } from '../src/api/types'
import { whatIsMissing } from '../src/app/needs'
import { receiptName, receiptSentence, receiptText } from '../src/app/receipt'
import { parseRoute } from '../src/app/route'
import { clusterSentence, listOfParts, readable, rgb, volumeOf, volumeRows } from '../src/app/vocabulary'

const vocabulary: Vocabulary = {
  labels: [
    { value: 1, key: 'ET', name: 'Enhancing tumour', colour: '#D55E00' },
    { value: 2, key: 'NET', name: 'Non-enhancing tumour', colour: '#0072B2' },
  ],
  regions: [
    { key: 'ET', name: 'Enhancing tumour', labels: [1] },
    { key: 'TC', name: 'Tumour core', labels: [1, 2] },
  ],
  sequences: (['t1n', 't1c', 't2w', 't2f'] as const).map((key) => ({
    key,
    title: key.toUpperCase(),
    optional: true,
    hint: '',
  })),
  stages: [],
  options: [],
  states: {},
  terms: [],
  disclaimer: '',
  version: '',
  kinds: {},
  links: {},
}
const series = (...keys: SequenceKey[]): SeriesOut[] =>
  keys.map((key) => ({
    key,
    sequence: key,
    shape: [],
    spacing_mm: [],
    orientation: '',
    warnings: [],
    bytes: 1,
    sha256: '',
  }))

describe('volumes', () => {
  it('lists labels, then composites that are no labels, with their parts', () => {
    expect(volumeRows(vocabulary).map((row) => [row.key, row.parts])).toEqual([
      ['ET', []],
      ['NET', []],
      ['TC', ['ET', 'NET']],
    ])
  })
  it('counts what is absent as 0 ml', () => {
    expect(volumeOf({}, 'ET')).toEqual({ ml: 0 })
    expect(volumeOf(null, 'ET')).toEqual({ ml: 0 })
    expect(volumeOf({ ET: { ml: 2, low_ml: 1, high_ml: 3 } }, 'ET').high_ml).toBe(3)
  })
  it('reads colours', () => expect(rgb('#D55E00')).toEqual([213, 94, 0]))
})

describe('what is missing', () => {
  const model: ModelOut = {
    id: 'starter',
    sequences: ['t1n', 't1c', 't2w', 't2f'],
    optional: ['t1n', 't1c', 't2f'],
    max_missing: 1,
  }
  it('asks for a scan at all', () => {
    expect(whatIsMissing(vocabulary, model, []).blockers).toEqual(['Add at least one scan.'])
  })
  it('names what the model cannot do without', () => {
    expect(whatIsMissing(vocabulary, model, series('t1n', 't1c', 't2f')).blockers).toEqual(['Still missing: T2W.'])
  })
  it('counts how many it can do without', () => {
    expect(whatIsMissing(vocabulary, model, series('t2w', 't1c', 't2f'))).toEqual({ blockers: [], absent: ['t1n'] })
    expect(whatIsMissing(vocabulary, model, series('t2w', 't1c')).blockers).toEqual([
      'This model can do without one sequence at most: T1N and T2F are missing.',
    ])
  })
  it('asks for one of those that it needs', () => {
    const free: ModelOut = {
      ...model,
      optional: ['t1n', 't1c', 't2w', 't2f'],
      max_missing: 3,
      at_least_one_of: ['t2f', 't2w'],
    }
    expect(whatIsMissing(vocabulary, free, series('t1n', 't1c')).blockers).toEqual(['This model needs T2W or T2F.'])
    expect(whatIsMissing(vocabulary, free, series('t2f')).blockers).toEqual([])
  })
  it('lets the server decide where the model says nothing', () => {
    expect(whatIsMissing(vocabulary, undefined, series('t1c'))).toEqual({ blockers: [], absent: ['t1n', 't2w', 't2f'] })
  })
  it('ignores a DICOM series that nobody has assigned', () => {
    const [unassigned] = series('t1c')
    if (unassigned) unassigned.sequence = null
    expect(whatIsMissing(vocabulary, undefined, unassigned ? [unassigned] : []).blockers).toHaveLength(1)
  })
})

describe('receipts', () => {
  const receipt = {
    reference: 'ab12cd34ef',
    cases: 1,
    files: 18,
    bytes: 61_000_000,
    stopped: 1,
    at: 1795363200,
    reason: 'user',
    unconfirmed: [],
  }
  it('says what, how many bytes and when', () => {
    expect(receiptSentence(receipt)).toBe('Deleted 1 case with 18 files (61 MB), and stopped 1 running stage.')
    const text = receiptText(receipt)
    expect(text).toContain('61000000')
    expect(text).toContain(new Date(1795363200000).toISOString())
    expect(text).toContain('ab12cd34ef')
    const doubt = 'the scratch directory of one worker is deleted when it starts again'
    expect(receiptText({ ...receipt, unconfirmed: [doubt] })).toContain(`Not yet confirmed: ${doubt}`)
    expect(receiptName(receipt)).toMatch(/^hope-deletion-\d{4}-\d\d-\d\d-ab12cd34\.txt$/)
  })
})

describe('problems', () => {
  it('speaks the server’s one sentence', () => {
    const problem = problemOf(422, '{"detail":"t1c is an empty file (got 0 bytes)","what":"t1c is an empty file"}')
    expect([problem.kind, problem.message]).toEqual(['refused', 't1c is an empty file (got 0 bytes)'])
  })
  it.each([
    [401, 'signed-out'],
    [404, 'gone'],
    [429, 'busy'],
    [503, 'busy'],
    [500, 'server'],
    [413, 'refused'],
  ])('status %d without a body still has a sentence', (status, kind) => {
    const problem = problemOf(status, '<html>proxy</html>')
    expect(problem.kind).toBe(kind)
    expect(problem.message).toMatch(/\.$|\)$/)
    expect(problem.message).not.toContain('<')
  })
})

describe('addresses', () => {
  it('knows cases and else goes home', () => {
    expect(parseRoute('#/case/abc-1_2')).toEqual({ page: 'case', key: 'abc-1_2' })
    for (const hash of ['', '#', '#/', '#/case/', '#/case/a/b', '#main'])
      expect(parseRoute(hash)).toEqual({ page: 'home' })
  })
})

describe('what cleaning did', () => {
  it('names what chose the cluster and how clearly', () => {
    const done = { changed: true, cluster: 4, chosen_by: 'cluster model tiny', runner_up: 7, lead: 0.031 }
    expect(clusterSentence(done)).toContain('Cluster chosen by: cluster model tiny; next is cluster 7, lead 3 %')
    expect(clusterSentence({ changed: true, cluster: 0, chosen_by: 'the rules have one cluster' })).toBe(
      'Cluster chosen by: the rules have one cluster.',
    )
    expect(clusterSentence({ changed: false, cluster: null, chosen_by: 'nobody' })).toBe('')
    expect(clusterSentence({ changed: false })).toBe('')
  })

  it('lists what was removed', () => {
    expect(listOfParts({ ET: 0.25, ED: 1 }, (value) => value.toFixed(2))).toBe('ET 0.25 ml, ED 1.00 ml')
    expect(listOfParts(undefined, String)).toBe('')
  })
})

it('says sequences by their titles, and leaves other words alone', () => {
  expect(readable(vocabulary, 't2w covers 61 % of T1c only')).toBe('T2W covers 61 % of T1C only')
  const titles = { ...vocabulary, sequences: [{ key: 't2f' as const, title: 'T2 FLAIR', optional: true, hint: '' }] }
  expect(readable(titles, 't2f and at2fs; preprocess: register t2f')).toBe(
    'T2 FLAIR and at2fs; preprocess: register T2 FLAIR',
  )
})
