/** The folders of the page know one another in one direction only. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const SOURCE = fileURLToPath(new URL('../src', import.meta.url))
/** Each may import those before it, and itself. What lies beside the folders comes last. */
const ORDER = ['api', 'app', 'scene', 'pages', '']

const folderOf = (path: string): string => {
  const inside = relative(SOURCE, path)
  return inside.includes('/') ? inside.slice(0, inside.indexOf('/')) : ''
}

function imports(): { from: string; to: string; file: string }[] {
  return readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name))
    .flatMap((name) => {
      const file = join(SOURCE, name)
      const named = [...readFileSync(file, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'(\.[^']*)'/g)]
      return named.map((found) => ({
        file: name,
        from: folderOf(file),
        to: folderOf(resolve(dirname(file), found[1] ?? '')),
      }))
    })
}

describe('imports', () => {
  it('are found', () => {
    expect(new Set(imports().map(({ from }) => from))).toEqual(new Set(ORDER))
  })
  it('make no circle of folders', () => {
    const wrong = imports().filter(({ from, to }) => to !== '' && ORDER.indexOf(to) > ORDER.indexOf(from))
    expect(wrong).toEqual([])
  })
})
