/** Which sequence is on screen: fetched ahead, switched in place. */
import { batch } from '@preact/signals'
import { sentence } from './editing'
import type { Viewer } from './niivue'
import type { Source } from './source'
import { next, pictureOf, type SceneState } from './state'

/** What switching needs from the rest of the panel. */
export interface SequenceHost {
  readonly state: SceneState
  readonly source: Source
  viewer: () => Viewer | null
  say: (kind: 'info' | 'error', text: string) => void
}

export class SequenceSwitch {
  private readonly host: SequenceHost

  constructor(host: SequenceHost) {
    this.host = host
  }

  /** Fetch the other sequences while nobody waits, so that they are one click away. */
  async loadOthers(signal: AbortSignal): Promise<void> {
    const choices = this.host.state.sequences.value
    for (const picture of [false, true].flatMap((matched) => choices.map((choice) => pictureOf(choice, matched)))) {
      if (!picture || signal.aborted || this.host.viewer()?.has(picture.key)) continue
      // Nothing was asked for yet: a click on a sequence that failed fetches it again and then says what is wrong.
      await this.host.source.ahead(picture.file).catch(() => null)
    }
  }

  /** Have every picture that there is in memory, to show all at once. */
  async addAll(): Promise<void> {
    const { state, source, say } = this.host
    for (const choice of state.sequences.value) {
      const viewer = this.host.viewer()
      const picture = pictureOf(choice, state.matched.value)
      if (!viewer || !picture || viewer.has(picture.key)) continue
      try {
        await viewer.add(picture.key, await source.ahead(picture.file))
        source.forget(picture.file)
      } catch (error) {
        say('error', `${choice.title} could not be shown. ${sentence(error)}`)
      }
    }
  }

  /** Show a sequence, as it came or after brightness matching. Place, zoom and labels stay as they are. */
  async show(key: string, matched = this.host.state.matched.value): Promise<void> {
    const { state, source } = this.host
    const viewer = this.host.viewer()
    const choice = state.sequences.value.find((entry) => entry.key === key)
    const picture = choice && pictureOf(choice, matched)
    const same = key === state.sequence.value && matched === state.matched.value
    if (!viewer || !picture || same || state.sequenceBusy.value) return
    try {
      if (!viewer.has(picture.key)) {
        state.sequenceBusy.value = key
        await viewer.add(picture.key, await source.ahead(picture.file))
        source.forget(picture.file)
      }
      if (this.host.viewer() !== viewer) return
      viewer.show(picture.key)
      batch(() => {
        state.sequence.value = key
        state.matched.value = matched
        state.range.value = viewer.range()
        // A limit is in intensities of the sequence that was on screen.
        state.pen.value = { ...state.pen.value, limit: null }
      })
      viewer.drawing.setPen(state.pen.value)
    } catch (error) {
      this.host.say('error', `${choice.title} could not be shown. ${sentence(error)}`)
    } finally {
      state.sequenceBusy.value = ''
    }
  }

  /** Before or after brightness matching, of the sequence on screen; nothing happens where that changed nothing. */
  showMatched(matched: boolean): void {
    const { choice, sequence } = this.host.state
    if (choice.value?.matchedFile) void this.show(sequence.value, matched)
  }

  next(by: number): void {
    const there = this.host.state.sequences.value.filter(({ file }) => file !== null).map(({ key }) => key)
    void this.show(next(there, this.host.state.sequence.value, by))
  }
}
