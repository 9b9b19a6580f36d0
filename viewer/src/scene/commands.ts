/** What each action of the keyboard does. */
import type { SceneController } from './controller'
import type { ArrowKey } from './geometry'
import { type Action, digitOf, type KeyPress } from './keys'

type Command = (scene: SceneController, press: KeyPress) => unknown

const labelOfDigit = (scene: SceneController, press: KeyPress): number | undefined =>
  scene.labels[digitOf(press) - 1]?.value

export const COMMANDS: Record<Action, Command> = {
  help: (scene) => {
    scene.state.help.value = !scene.state.help.value
  },
  leave: (scene) => scene.leave(),
  undo: (scene) => scene.edit.undo(),
  redo: (scene) => scene.edit.redo(),
  'hide-all': (scene) => scene.marks.toggleAll(),
  label: (scene, press) => {
    const label = labelOfDigit(scene, press)
    if (label !== undefined) scene.marks.toggle(label)
  },
  'pen-label': (scene, press) => {
    const label = labelOfDigit(scene, press)
    if (label !== undefined) scene.edit.setPen({ label, erase: false })
  },
  style: (scene) => scene.marks.nextStyle(),
  'next-sequence': (scene) => scene.sequences.next(1),
  'previous-sequence': (scene) => scene.sequences.next(-1),
  'view-multi': (scene) => scene.state.view.value !== 'multi' && scene.setView('multi'),
  'view-axial': (scene) => scene.setView('axial'),
  'view-coronal': (scene) => scene.setView('coronal'),
  'view-sagittal': (scene) => scene.setView('sagittal'),
  'view-3d': (scene) => scene.setView('3d'),
  'side-by-side': (scene) => void scene.sideBySide(!scene.state.sideBySide.value),
  sides: (scene) => scene.setRadiological(!scene.state.radiological.value),
  window: (scene) => scene.toggleMode('window'),
  'reset-window': (scene) => scene.resetWindow(),
  'zoom-in': (scene) => scene.zoom(1.25),
  'zoom-out': (scene) => scene.zoom(1 / 1.25),
  'zoom-reset': (scene) => scene.zoom(0),
  draw: (scene) => scene.toggleMode('draw'),
  erase: (scene) => scene.edit.setPen({ erase: !scene.state.pen.value.erase }),
  thinner: (scene) => scene.edit.brush(-1),
  thicker: (scene) => scene.edit.brush(1),
  compare: (scene) => scene.edit.compare(),
  'compare-brightness': (scene) => scene.sequences.showMatched(!scene.state.matched.value),
  jump: (scene) => scene.jump(),
  uncertainty: (scene) => void scene.uncertainty.show(!scene.state.uncertain.value),
  paint: (scene) => scene.edit.paint(),
  look: (scene, press) =>
    scene.state.sideBySide.value ? scene.linked.look(press.key) : scene.move(press.key as ArrowKey),
  move: (scene, press) => scene.move(press.key as ArrowKey),
}
