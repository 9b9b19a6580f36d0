import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { dicomOf } from '../src/app/dicomfiles'
import { crc32, zipOf } from '../src/app/zip'

const bytes = (text: string) => new TextEncoder().encode(text)
const marked = new Uint8Array(400)
marked.set(bytes('DICM'), 128)

describe('zipOf', () => {
  it('counts CRC-32 as the standard does, in one go or in parts', () => {
    expect(crc32(bytes('123456789'))).toBe(0xcbf43926)
    expect(crc32(bytes('6789'), crc32(bytes('12345')))).toBe(0xcbf43926)
  })
  it('makes a zip that another program reads, without the files’ names', async () => {
    const shares: number[] = []
    const files = [new File([marked], 'SURNAME^GIVEN.dcm'), new File([bytes('two')], 'b'), new File([], 'c')]
    const zip = new Uint8Array(await (await zipOf(files, (share) => shares.push(share))).arrayBuffer())
    const folder = mkdtempSync(join(tmpdir(), 'zip-'))
    try {
      writeFileSync(join(folder, 'a.zip'), zip)
      const script =
        'import sys,zipfile as z; a=z.ZipFile(sys.argv[1]); assert a.testzip() is None; a.extractall(sys.argv[2])'
      execFileSync('python3', ['-c', script, join(folder, 'a.zip'), folder])
      expect(new Uint8Array(readFileSync(join(folder, '00001.dcm')))).toEqual(marked)
      expect(readFileSync(join(folder, '00002.dcm'), 'utf8')).toBe('two')
      expect(readFileSync(join(folder, '00003.dcm'))).toHaveLength(0)
    } finally {
      rmSync(folder, { recursive: true })
    }
    expect(new TextDecoder('latin1').decode(zip)).not.toContain('SURNAME')
    expect(shares).toHaveLength(3)
  })
  it('says what cannot be packed', async () => {
    await expect(zipOf([])).rejects.toThrow('no files to send')
    await expect(zipOf([{ size: 2 ** 33 } as Blob])).rejects.toThrow('one examination')
  })
})

describe('dicomOf', () => {
  it('takes what has the mark, or no other extension, and no listing of names', async () => {
    const named = (path: string, content: Uint8Array<ArrayBuffer> = new Uint8Array(400)) => ({
      path,
      file: new File([content], path.split('/').at(-1) ?? ''),
    })
    const found = [
      named('study/IM0001'),
      named('study/a.txt', marked),
      named('study/letter.txt'),
      named('study/scan.nii.gz'),
      named('study/1.2.840.99'),
      named('study/1.2.840.98', marked),
      named('study/DICOMDIR', marked),
      named('study/.hidden', marked),
      named('study/x.IMA'),
      named('study/short', new Uint8Array(10)),
    ]
    expect((await dicomOf(found)).map(({ name }) => name)).toEqual(['IM0001', 'a.txt', '1.2.840.98', 'x.IMA'])
  })
})
