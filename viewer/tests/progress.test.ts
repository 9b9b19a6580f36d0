import { describe, expect, it } from 'vitest'
import type { CaseOut, StageOut } from '../src/api/types'
import {
  expectedSeconds,
  secondsLeft,
  shownStages,
  type Told,
  tellLeft,
  toldStep,
  wholeShare,
} from '../src/app/progress'

const stage = (name: StageOut['stage'], state: StageOut['state'], share = 0, weight = 0.25): StageOut => ({
  stage: name,
  title: name,
  state,
  share,
  weight,
  usual_seconds: 100 * weight,
  message: '',
  attempts: 1,
})

describe('progress for people', () => {
  it('is not begun before anything runs, and whole when all stages are done', () => {
    const names = ['preprocess', 'harmonize', 'segment', 'postprocess'] as const
    expect(wholeShare(names.map((name) => stage(name, 'waiting')))).toBe(0)
    expect(wholeShare(names.map((name) => stage(name, 'done')))).toBeCloseTo(1)
    expect(wholeShare([])).toBe(0)
  })

  it('weighs each stage by what the server says of it', () => {
    const raw = [
      stage('preprocess', 'done', 1, 0.77),
      stage('segment', 'running', 0.5, 0.2),
      stage('postprocess', 'waiting', 0, 0.03),
    ]
    expect(wholeShare(raw)).toBeCloseTo(0.87)
    const given = [
      stage('preprocess', 'done', 1, 0.2),
      stage('segment', 'running', 0.5, 0.5),
      stage('postprocess', 'waiting', 0, 0.3),
    ]
    expect(wholeShare(given)).toBeCloseTo(0.45)
  })

  it('trusts no share outside 0 to 1', () => {
    expect(wholeShare([stage('segment', 'running', 7)])).toBe(1)
    expect(wholeShare([stage('segment', 'running', -1)])).toBe(0)
  })

  it('tells the time left from what stages usually take, at this machine’s speed', () => {
    const run = (share: number, seconds: number): StageOut[] => [
      { ...stage('preprocess', 'done', 1, 0.5), seconds },
      { ...stage('segment', 'running', share, 0.5), seconds: 0 },
    ]
    const usual = { preprocess: 50, segment: 50 }
    expect(secondsLeft([stage('preprocess', 'waiting', 0, 0.5), stage('segment', 'waiting', 0, 0.5)], usual)).toBe(100)
    expect(secondsLeft(run(0, 50), usual)).toBeCloseTo(50)
    // Three times as slow so far: the rest is expected to be nearly three times as slow.
    expect(secondsLeft(run(0, 150), usual)).toBeGreaterThan(130)
    expect(secondsLeft(run(0.5, 50), usual)).toBeLessThan(30)
  })

  it('knows a case of the same kind that was finished here better than what was measured elsewhere', () => {
    const found = (id: string, state: CaseOut['state'], seconds?: number) =>
      ({ id, state, stages: [{ ...stage('segment', 'done', 1, 1), seconds }] }) as CaseOut
    const mine = found('mine', 'running')
    expect(expectedSeconds(mine, [mine])).toEqual({ segment: 100 })
    expect(expectedSeconds(mine, [found('a', 'done', 7), found('b', 'done', 9), found('c', 'failed', 1)])).toEqual({
      segment: 9,
    })
    const other = found('d', 'done', 3)
    other.stages = [{ ...(other.stages[0] as StageOut), usual_seconds: 5 }]
    expect(expectedSeconds(mine, [other])).toEqual({ segment: 100 })
  })

  it('never tells a gross rise, however long a step stands still', () => {
    let told: Told | undefined
    const said: number[] = []
    for (let at = 0; at <= 240; at += 4) {
      const stages = [{ ...stage('preprocess', 'running', 0.2, 1), seconds: at }]
      told = tellLeft(told, secondsLeft(stages, { preprocess: 100 }), at)
      said.push(told.left)
    }
    expect(Math.max(...said)).toBeLessThan((said[0] ?? 0) + 0.25 * 240 + 1)
    // As soon as there is less to do, less is told.
    expect(tellLeft(told, 3, 241).left).toBe(3)
  })

  it('shows no stage that is switched off, unless it failed', () => {
    const stages = [stage('preprocess', 'done'), stage('harmonize', 'waiting'), stage('segment', 'waiting')]
    const keys = (choice: CaseOut['choice'], of = stages) => shownStages({ stages: of, choice }).map((one) => one.stage)
    expect(keys({})).toEqual(['preprocess', 'segment'])
    expect(keys({ harmonize: true })).toEqual(['preprocess', 'harmonize', 'segment'])
    expect(keys({}, [stage('harmonize', 'failed')])).toEqual(['harmonize'])
  })

  it('says a step without the name that stands above it', () => {
    expect(toldStep('preprocess: even out the bias field of t1c')).toBe('Even out the bias field of t1c')
    expect(toldStep('loading the model')).toBe('Loading the model')
    expect(toldStep('')).toBe('')
  })
})
