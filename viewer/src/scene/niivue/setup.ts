/** Makes the library ready: its options, and the methods that are replaced because they would act against the panel. */
import { MULTIPLANAR_TYPE, Niivue, SHOW_RENDER } from '@niivue/niivue'
import { UNDO_DEPTH } from '../state'

/** What the replaced methods call. */
export interface Hooks {
  /** An edit of the drawing is about to be remembered. */
  completing: () => void
  /** An edit of the drawing is complete, whichever tool made it. */
  edited: () => void
  windowing: (x: number, y: number) => void
  moved: (place: { mm: ArrayLike<number>; axCorSag: number }) => void
  /** Everything is drawn. */
  drawn: () => void
  /** How opaque the drawing is in 3D. */
  opacity3D: () => number
}

/** The library with what was changed about it. */
export interface Tamed {
  nv: Niivue
  /** Draw at once. `nv.drawScene` only asks for the next frame. */
  drawNow: () => void
  /** Draw nothing more. */
  stop: () => void
}

const create = (): Niivue =>
  new Niivue({
    backColor: [0, 0, 0, 1],
    crosshairWidth: 0.7,
    crosshairColor: [0.35, 0.8, 1, 0.85],
    show3Dcrosshair: true,
    isColorbar: false,
    isOrientCube: true,
    isOrientationTextVisible: false, // its letters vanish on bright tissue; the panel puts its own over the pictures
    isRadiologicalConvention: true,
    sagittalNoseLeft: true, // as the server's pictures and most radiologists have it
    isForceMouseClickToVoxelCenters: true,
    isSliceMM: false,
    multiplanarLayout: MULTIPLANAR_TYPE.GRID,
    multiplanarShowRender: SHOW_RENDER.ALWAYS,
    meshThicknessOn2D: 0,
    meshXRay: 0.25,
    maxDrawUndoBitmaps: UNDO_DEPTH + 1,
    dragAndDropEnabled: false,
    viewModeHotKey: '',
    clipPlaneHotKey: '',
    cycleClipPlaneHotKey: '',
    loadingText: '',
    logLevel: 'error',
  })

/** The library, quiet: no keys, no file dropping, at most one drawing a frame. */
export function tamed(hooks: Hooks): Tamed {
  const nv = create()
  const nothing = (): void => {}
  // Its keys and its file dropping would act beside ours, and a double click would reset the contrast.
  nv.keyUpListener = nothing
  nv.keyDownListener = nothing
  nv.dragEnterListener = nothing
  nv.dragOverListener = nothing
  nv.dropListener = async () => {}
  nv.resetBriCon = nothing
  // It draws up to four times for one mouse event. Once a frame is enough, and keeps weak machines usable.
  const draw = nv.drawScene.bind(nv)
  const drawNow = () => {
    draw()
    hooks.drawn()
  }
  let frame = 0
  let stopped = false
  nv.drawScene = () => {
    if (stopped) return
    frame ||= requestAnimationFrame(() => {
      frame = 0
      drawNow()
    })
  }
  // Every edit ends with this call.
  const remember = nv.drawAddUndoBitmap.bind(nv)
  nv.drawAddUndoBitmap = (overwrites) => {
    hooks.completing()
    remember(overwrites)
    hooks.edited()
  }
  nv.windowingHandler = (x, y) => hooks.windowing(x, y)
  // On slices it would be as wide as it is in millimetres: the panel draws lines of one pixel over them.
  const crosshairs = nv.drawCrosshairs3D.bind(nv)
  nv.drawCrosshairs3D = (depth, alpha, matrix, on2D, inMm) => {
    if (!on2D) crosshairs(depth, alpha, matrix, on2D, inMm)
  }
  const image3D = nv.drawImage3D.bind(nv)
  nv.drawImage3D = (matrix, azimuth, elevation) => {
    const opacity = nv.drawOpacity
    nv.drawOpacity = hooks.opacity3D()
    image3D(matrix, azimuth, elevation)
    nv.drawOpacity = opacity
  }
  nv.onLocationChange = (place) => hooks.moved(place as { mm: ArrayLike<number>; axCorSag: number })
  const stop = (): void => {
    stopped = true
    cancelAnimationFrame(frame)
  }
  return { nv, drawNow, stop }
}

/** Call when attached: spare the gradient that the library computes, for lighting, with every change of the window. */
export function withoutGradient(nv: Niivue): void {
  for (const shader of [nv.blurShader, nv.sobelFirstOrderShader]) {
    if (!shader) continue
    // Nothing is lit here. With no viewport its passes cost nothing; every drawing sets a viewport of its own.
    shader.use = (gl) => {
      gl.useProgram(shader.program)
      gl.viewport(0, 0, 0, 0)
    }
  }
}
