import { describe, expect, it } from 'vitest'
import type { StageOut } from '../src/api/types'
import { secondsLeft, toldStep, wholeShare } from '../src/app/progress'

const stage = (name: StageOut['stage'], state: StageOut['state'], share = 0, weight = 0.25): StageOut => ({
  stage: name,
  title: name,
  state,
  share,
  weight,
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

  it('estimates nothing while it is too early', () => {
    expect(secondsLeft(0.01, 60)).toBeNull()
    expect(secondsLeft(0.5, 1)).toBeNull()
    expect(secondsLeft(0.5, 60)).toBeCloseTo(60)
  })

  it('says a step without the name that stands above it', () => {
    expect(toldStep('preprocess: even out the bias field of t1c')).toBe('Even out the bias field of t1c')
    expect(toldStep('loading the model')).toBe('Loading the model')
    expect(toldStep('')).toBe('')
  })
})
