import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Change, changeWords, comparedOf, differenceOf, fullestSlice, isChange } from '../src/app/compared'
import { unzipped } from '../src/app/unzip'
import { zipOf } from '../src/app/zip'

const change = (more: Partial<Change>): Change => ({
  earlier_ml: 2,
  later_ml: 3,
  change_ml: 1,
  percent: 50,
  low_ml: null,
  high_ml: null,
  direction: 'not larger than the uncertainty',
  ...more,
})

describe('a change', () => {
  it('is said with its sign and in per cent where there is one', () => {
    expect(changeWords(change({}))).toBe('+1.00 ml, +50 %')
    expect(changeWords(change({ change_ml: -12.34, percent: -33.4 }))).toBe('−12.3 ml, −33 %')
    expect(changeWords(change({ percent: null }))).toBe('+1.00 ml')
    expect(changeWords(change({ change_ml: -0.001, percent: 0.2 }))).toBe('0.00 ml, 0 %')
  })
  it('is one only outside its interval', () => {
    expect(
      ['larger', 'smaller', 'not larger than the uncertainty', 'uncertainty unknown'].map((direction) =>
        isChange(change({ direction })),
      ),
    ).toEqual([true, true, false, false])
  })
})

describe('the difference of two masks', () => {
  it('says which date a voxel belongs to', () => {
    expect([...differenceOf(Uint8Array.of(0, 1, 0, 4), Uint8Array.of(0, 0, 2, 3))]).toEqual([0, 2, 1, 3])
  })
  it('is looked at where there is most of it', () => {
    const mask = new Uint8Array(3 * 4 * 5)
    mask[0] = 1
    for (const x of [0, 1, 2]) mask[x + 3 * 2 + 12 * 4] = 1
    expect([0, 1, 2].map((axis) => fullestSlice(mask, [3, 4, 5], axis as 0))).toEqual([0, 2, 4])
    expect(fullestSlice(new Uint8Array(60), [3, 4, 5], 2)).toBe(2)
  })
})

describe('unzipped', () => {
  it('reads stored and deflated files of another program', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'zip-'))
    try {
      const script =
        'import sys,zipfile as z\na=z.ZipFile(sys.argv[1],"w",z.ZIP_DEFLATED)\na.writestr("comparison.json","{}"*5000)\na.writestr("a.nii",b"abc",z.ZIP_STORED)\na.close()'
      execFileSync('python3', ['-c', script, join(folder, 'a.zip')])
      const found = await unzipped(new Blob([new Uint8Array(readFileSync(join(folder, 'a.zip')))]))
      expect([...found.keys()]).toEqual(['comparison.json', 'a.nii'])
      expect(new TextDecoder().decode(found.get('comparison.json'))).toBe('{}'.repeat(5000))
      expect(new TextDecoder().decode(found.get('a.nii'))).toBe('abc')
    } finally {
      rmSync(folder, { recursive: true })
    }
    const own = await unzipped(await zipOf([new Blob(['one']), new Blob(['two'])]))
    expect([...own.values()].map((bytes) => new TextDecoder().decode(bytes))).toEqual(['one', 'two'])
  })
  it('says what is wrong with an answer', async () => {
    await expect(unzipped(new Blob(['no zip at all, but long enough']))).rejects.toThrow('no zip')
    await expect(comparedOf(await zipOf([new Blob(['one'])]))).rejects.toThrow('lacks comparison.json')
  })
})
