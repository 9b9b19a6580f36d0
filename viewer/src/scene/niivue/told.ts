/** What the viewer is given to show, and what it tells the panel. */
import type { Plane } from '../geometry'
import type { Cursor } from '../state'
import type { Window } from '../window'

export interface SceneLabel {
  value: number
  name: string
  rgb: [number, number, number]
}

/** What the viewer tells the panel. */
export interface SceneTold {
  cursor: (cursor: Cursor) => void
  /** The user clicked or scrolled in a picture of this plane. */
  plane: (plane: Plane) => void
  /** A stroke of the brush is complete. */
  stroke: () => void
  window: (window: Window) => void
  lost: () => void
  /** The pictures have been drawn anew. */
  drawn: () => void
}
