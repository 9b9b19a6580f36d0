/** Which labels are on screen, and how they are drawn. */
import { batch } from '@preact/signals'
import type { Viewer } from './niivue'
import { next, type SceneState, STYLES, type Style, seen, toggled, toggledAll } from './state'

export class LabelDisplay {
  readonly values: readonly number[]
  private readonly state: SceneState
  private readonly viewer: () => Viewer | null

  constructor(state: SceneState, values: readonly number[], viewer: () => Viewer | null) {
    this.state = state
    this.values = values
    this.viewer = viewer
  }

  toggle(label: number): void {
    this.state.eyes.value = toggled(this.state.eyes.value, label, this.values)
    this.show()
  }

  toggleAll(): void {
    this.state.eyes.value = toggledAll(this.state.eyes.value, this.values)
    this.show()
  }

  setStyle(style: Style, opacity = this.state.opacity.value): void {
    batch(() => {
      this.state.style.value = style
      this.state.opacity.value = opacity
    })
    this.viewer()?.setStyle(style, opacity)
  }

  nextStyle(): void {
    this.setStyle(next(STYLES, this.state.style.value))
  }

  /** Bring the pictures in step with the state. */
  show(): void {
    const { state } = this
    const viewer = this.viewer()
    for (const label of this.values) viewer?.setSeen(label, seen(state.eyes.value, label))
    viewer?.setStyle(state.style.value, state.opacity.value)
  }
}
