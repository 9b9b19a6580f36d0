import { describe, expect, it } from 'vitest'
import { applyEvent, parseEvent } from '../src/api/events'
import type { CaseEvent, CaseOut, StageKey } from '../src/api/types'
import { lastSeen, wholeShare } from '../src/app/progress'

const STAGES: StageKey[] = ['preprocess', 'harmonize', 'segment', 'postprocess']

function someCase(change: Partial<CaseOut> = {}): CaseOut {
  return {
    id: 'abc',
    number: 1,
    state: 'queued',
    created_at: 0,
    run: 1,
    choice: {},
    stages: STAGES.map((stage) => ({
      stage,
      title: stage,
      state: 'waiting',
      share: 0,
      weight: 0.25,
      usual_seconds: 10,
      message: '',
      attempts: 0,
    })),
    series: [],
    label: '',
    version: 0,
    volumes_ml: {},
    qc: [],
    disclaimer: '',
    ...change,
  }
}
const event = (of: Record<string, unknown>) => ({ number: 1, case_id: 'abc', at: 100, run: 1, ...of }) as CaseEvent
const stageOf = (found: CaseOut, key: StageKey) => found.stages.find((stage) => stage.stage === key)

describe('parseEvent', () => {
  it('joins kind, number and data', () => {
    expect(parseEvent('stage', '17', '{"case_id":"abc","at":1.5,"stage":"segment","state":"done"}')).toEqual({
      kind: 'stage',
      number: 17,
      case_id: 'abc',
      at: 1.5,
      stage: 'segment',
      state: 'done',
    })
  })
  it.each(['', 'no json', '3', 'null'])('drops %j', (data) => expect(parseEvent('state', '1', data)).toBeNull())
})

describe('applyEvent', () => {
  it('follows a stage from its beginning to its end', () => {
    let found = applyEvent(someCase(), event({ kind: 'state', state: 'running' }))
    found = applyEvent(found, event({ kind: 'stage', stage: 'preprocess', state: 'running' }))
    found = applyEvent(
      found,
      event({ kind: 'progress', stage: 'preprocess', share: 0.4, message: 'register t2w', at: 103 }),
    )
    expect(found.state).toBe('running')
    expect(stageOf(found, 'preprocess')).toMatchObject({ state: 'running', share: 0.4, message: 'register t2w' })
    expect(lastSeen(found.stages)).toBe(103)
    found = applyEvent(found, event({ kind: 'stage', stage: 'preprocess', state: 'done', seconds: 51 }))
    expect(stageOf(found, 'preprocess')).toMatchObject({ state: 'done', share: 1, seconds: 51, message: '' })
    expect(stageOf(found, 'segment')?.state).toBe('waiting')
  })

  it('ignores what a reconnecting stream repeats', () => {
    const done = someCase({ state: 'done' })
    for (const stage of done.stages) stage.state = 'done'
    for (const repeated of [
      event({ kind: 'state', state: 'queued' }),
      event({ kind: 'state', state: 'running' }),
      event({ kind: 'stage', stage: 'segment', state: 'running' }),
      event({ kind: 'progress', stage: 'segment', share: 0.1, message: 'early' }),
    ])
      expect(applyEvent(done, repeated)).toEqual(done)
  })

  it('ignores other cases and earlier runs, and takes a newer run', () => {
    const found = someCase({ run: 2 })
    const failed = { kind: 'state', state: 'failed', problem: 'x' }
    expect(applyEvent(found, event({ ...failed, case_id: 'other', run: 2 }))).toBe(found)
    expect(applyEvent(found, event({ ...failed, run: 1 }))).toBe(found)
    const newer = applyEvent(
      someCase({ state: 'failed', problem: 'x' }),
      event({ kind: 'state', state: 'queued', run: 2 }),
    )
    expect(newer).toMatchObject({ state: 'queued', run: 2, problem: '' })
  })

  it('shows a stage that is begun again as waiting, then running', () => {
    let found = applyEvent(someCase(), event({ kind: 'progress', stage: 'segment', share: 0.7, message: 'window' }))
    found = applyEvent(found, event({ kind: 'stage', stage: 'segment', state: 'waiting' }))
    expect(stageOf(found, 'segment')).toMatchObject({ state: 'waiting', share: 0 })
  })
})

describe('progress as a whole', () => {
  it('grows from 0 to 1 over the stages', () => {
    const found = someCase()
    const shares = [wholeShare(found.stages)]
    for (const stage of found.stages) {
      stage.state = 'running'
      stage.share = 0.5
      shares.push(wholeShare(found.stages))
      stage.state = 'done'
      shares.push(wholeShare(found.stages))
    }
    expect(shares[0]).toBe(0)
    expect(shares.at(-1)).toBeCloseTo(1)
    expect([...shares].sort((one, other) => one - other)).toEqual(shares)
    expect(wholeShare([])).toBe(0)
  })
})
