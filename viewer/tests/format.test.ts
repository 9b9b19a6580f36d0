import { describe, expect, it } from 'vitest'
import { ago, bytes, duration, interval, ml, percent, roughly, spacing } from '../src/app/format'

describe('numbers for people', () => {
  it.each([
    [0, '0 bytes'],
    [1, '1 byte'],
    [999, '999 bytes'],
    [1500, '1.5 kB'],
    [999_950, '1.0 MB'],
    [12_345_678, '12 MB'],
    [2_147_483_648, '2.1 GB'],
  ])('%d bytes', (count, text) => expect(bytes(count)).toBe(text))

  it.each([
    [0, '0 s'],
    [59.4, '59 s'],
    [59.6, '1 min'],
    [125, '2 min 5 s'],
    [3600, '1 h'],
    [3900, '1 h 5 min'],
  ])('%d seconds', (seconds, text) => expect(duration(seconds)).toBe(text))

  it('says absent volumes as 0 and small ones finer than large ones', () => {
    expect([ml(0), ml(0.342), ml(9.994), ml(24.047)]).toEqual(['0', '0.34', '9.99', '24.0'])
  })

  it('leaves an unknown interval empty', () => {
    expect(interval({ ml: 1 })).toBe('')
    expect(interval({ ml: 4.6, low_ml: 2.788, high_ml: 16.508 })).toBe('2.79 to 16.5')
  })

  it('never shows 100 % before the end, nor less than nothing', () => {
    expect([percent(0.999), percent(1), percent(-0.1), percent(7)]).toEqual(['99 %', '100 %', '0 %', '100 %'])
  })

  it('estimates no finer than it knows', () => {
    expect([roughly(4), roughly(41), roughly(61), roughly(3599), roughly(4000)]).toEqual([
      'a few seconds',
      'about 50 s',
      'about 2 minutes',
      'about 60 minutes',
      'about 2 hours',
    ])
  })

  it('tells how long ago, and spacing without trailing zeros', () => {
    expect([ago(0.2), ago(3)]).toEqual(['just now', '3 s ago'])
    expect(spacing([1, 0.940465, 5.229])).toBe('1 × 0.94 × 5.23 mm')
  })
})
