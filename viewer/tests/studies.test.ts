import { describe, expect, it } from 'vitest'
import { dayOf, moreThan, searchOf, sizeOf } from '../src/app/studies'

describe('searchOf', () => {
  it('asks for a patient, a day, or the days between', () => {
    expect(searchOf({ patient: ' 4711 ', from: '', to: '' })).toEqual({ patient_id: '4711', date: '' })
    expect(searchOf({ patient: '', from: '2026-03-01', to: '' })).toEqual({ patient_id: '', date: '20260301' })
    expect(searchOf({ patient: '', from: '', to: '2026-03-01' })).toEqual({ patient_id: '', date: '20260301' })
    expect(searchOf({ patient: 'A 1', from: '2026-03-01', to: '2026-04-02' })).toEqual({
      patient_id: 'A 1',
      date: '20260301-20260402',
    })
  })
  it('says what is no search', () => {
    expect(searchOf({ patient: '  ', from: '', to: '' })).toMatch('number, or a date')
    expect(searchOf({ patient: '47*', from: '', to: '' })).toMatch('without')
    expect(searchOf({ patient: '', from: '2026-04-02', to: '2026-03-01' })).toMatch('later')
  })
})

describe('a study in words', () => {
  it('says day and size as far as the archive does', () => {
    expect(dayOf('20260301')).toBe('2026-03-01')
    expect(dayOf('')).toBe('no date')
    expect(sizeOf({ uid: '1.2', date: '', series: 4, images: 1 })).toBe('4 series, 1 image')
    expect(sizeOf({ uid: '1.2', date: '', series: 0, images: 0 })).toBe('size not told')
  })
  it('says where there may be more than an archive is asked for', () => {
    const study = { uid: '1.2', date: '', series: 0, images: 0 }
    expect(moreThan(Array(99).fill(study))).toBe('')
    expect(moreThan(Array(100).fill(study))).toMatch('there may be more')
  })
})
