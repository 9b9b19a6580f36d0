// Motion without an end costs a browser that draws in software a frame 60 times a second, beside the network.
import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'

const STYLES = new URL('../src/styles/', import.meta.url)
const endless = readdirSync(STYLES).flatMap((name) =>
  [...readFileSync(new URL(name, STYLES), 'utf-8').matchAll(/animation:[^;]*\binfinite\b[^;]*;/g)].map(
    ([rule]) => rule,
  ),
)

describe('motion that goes on for as long as a case is at work', () => {
  test('is found', () => expect(endless.length).toBeGreaterThan(2))
  test.each(endless)('moves in steps: %s', (rule) => expect(rule).toMatch(/steps\(\d+/))
})
