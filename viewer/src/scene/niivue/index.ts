/**
 * What the panel wants from a viewer, in our words. This folder is the only one that knows NiiVue (0.69): the library
 * can be swapped here.
 */
import { DRAG_MODE, type Niivue, type NVImage, NVMesh, SLICE_TYPE } from '@niivue/niivue'
import type { Stack } from '../cuts'
import { type Grid, sceneShape, sceneSpacing, signedVolume, type Vec3 } from '../geometry'
import type { TilePlace } from '../overlay'
import type { Mode, Style, View } from '../state'
import { dragged, type Range, type Window } from '../window'
import { Drawing, type Lie, PLANES } from './drawing'
import { lieOf } from './lie'
import { asMap, MAP_COLOURS, mapColours, type Picture, readPicture, stackOf } from './pictures'
import { type Tamed, tamed, withoutGradient } from './setup'
import { QUARTERS, SLICE, tilePlaces, zoomSlices } from './tiles'
import type { SceneLabel, SceneTold } from './told'

export type { SceneLabel, SceneTold } from './told'

/** An outline alone: the library draws outlines only where there is some fill. */
const HARDLY = 0.004

export class Viewer {
  private readonly tamed: Tamed
  private readonly nv: Niivue
  readonly drawing: Drawing
  private readonly told: SceneTold
  private readonly pictures = new Map<string, Picture>()
  private readonly meshes = new Map<number, NVMesh>()
  private readonly stops = new AbortController()
  private current: Picture | null = null
  /** What is laid over the image. */
  private map: Picture | null = null
  private lie: Lie | null = null
  private surfaces = false
  private windowFrame = 0
  private mode: Mode = 'look'
  /** 3D is alone on the canvas. */
  private turning = false

  /** Whether this browser can show anything at all. */
  static supported(): boolean {
    const gl = document.createElement('canvas').getContext('webgl2')
    gl?.getExtension('WEBGL_lose_context')?.loseContext() // browsers keep only a few contexts alive
    return gl !== null
  }

  constructor(labels: readonly SceneLabel[], told: SceneTold) {
    this.told = told
    this.tamed = tamed({
      completing: () => this.drawing.completing(),
      edited: () => this.drawing.edited(),
      windowing: (x, y) => this.dragWindow(x, y),
      moved: (place) => this.moved(place),
      drawn: () => told.drawn(),
      // The label surfaces if they are true, else the drawing itself; never both on one another.
      opacity3D: () => (this.surfaces ? 0 : 1),
    })
    this.nv = this.tamed.nv
    this.drawing = new Drawing(
      this.nv,
      () => this.whole(),
      () => this.shown(),
      told.stroke,
    )
    const lut = new Uint8ClampedArray(256 * 4)
    for (const { value, rgb } of labels) lut.set([...rgb, 255], value * 4)
    this.nv.drawLut = { lut, labels: [] }
    this.nv.addColormap(MAP_COLOURS, mapColours())
    this.setMode('look')
  }

  /** Take a canvas and its events. Throws where WebGL2 is missing after all. */
  async attach(canvas: HTMLCanvasElement): Promise<void> {
    const { signal } = this.stops
    // Before the library's own listeners: a stroke that leaves the canvas has ended, and must count as one.
    canvas.addEventListener('mouseleave', () => this.drawing.finishStroke(), { signal })
    for (const kind of ['touchstart', 'touchmove', 'touchend'] as const)
      canvas.addEventListener(kind, (event) => this.touched(event), { signal, passive: true })
    canvas.addEventListener(
      'webglcontextlost',
      (event) => {
        event.preventDefault()
        this.told.lost()
      },
      { signal },
    )
    await this.nv.attachToCanvas(canvas, false)
    withoutGradient(this.nv)
    await this.nv.setVolumeRenderIllumination(-1) // 3D shows the three slices, not a costly cloud
    this.nv.setRenderAzimuthElevation(120, 15)
    this.nv.setScale(1.35)
  }

  /**
   * A finger that looks scrolls the page, and a tap is a click: the library would take both for itself. Drawing, window
   * and 3D need the finger.
   */
  private touched(event: TouchEvent): void {
    if (this.mode === 'look' && !this.turning) event.stopImmediatePropagation()
  }

  /** Give everything back: events, the canvas's context, memory. */
  close(): void {
    this.stops.abort()
    cancelAnimationFrame(this.windowFrame)
    this.tamed.stop()
    this.nv.cleanup()
    this.nv._gl?.getExtension('WEBGL_lose_context')?.loseContext()
    this.pictures.clear()
  }

  has(key: string): boolean {
    return this.pictures.has(key)
  }

  /** Read an image file; it stays in memory under `key`. */
  async add(key: string, file: Uint8Array<ArrayBuffer>): Promise<void> {
    this.pictures.set(key, await readPicture(key, file))
  }

  /** An image that was added, as an array; undefined if it was not. */
  stack(key: string): Stack | undefined {
    const picture = this.pictures.get(key)
    return picture && stackOf(picture)
  }

  /** Put an image that was added on screen; everything else (place, drawing, labels) stays. */
  show(key: string): void {
    const picture = this.pictures.get(key)
    if (!picture || picture === this.current) return
    const place = this.current ? this.placeMm() : null
    this.current = picture
    const { image } = picture
    this.layer(image)
    this.lie ??= lieOf(image)
    this.goTo(place ?? this.placeMm()) // also from the library's first place, which lies between voxels
    this.told.window(this.window())
  }

  /** Lay a map that was added over the image on screen, or nothing. */
  layOver(key: string | null): void {
    const found = key === null ? undefined : this.pictures.get(key)
    this.map = found ? asMap(found) : null
    if (this.current) this.layer(this.current.image)
  }

  private layer(image: NVImage): void {
    this.nv.volumes = this.map ? [image, this.map.image] : [image]
    this.nv.setVolume(image, 0) // it also counts what lies over the image, as setting `volumes` does not
  }

  /** Slices along the scene's axes. */
  sizes(): Vec3 {
    const { grid, order } = this.whole()
    return sceneShape(grid.shape, order)
  }

  /** Millimetres between slices along the scene's axes. */
  spacing(): Vec3 {
    const { grid, order } = this.whole()
    return sceneSpacing(grid, order)
  }

  /** Where the slices and the crosshair are on the canvas. */
  places(): TilePlace[] {
    return this.current ? tilePlaces(this.nv, this.sizes()) : []
  }

  /** The grid of the image on screen. */
  imageGrid(): Grid {
    return this.whole().grid
  }

  private shown(): Stack {
    if (!this.current) throw new Error('no image is shown yet')
    return stackOf(this.current)
  }

  /** How the file's voxels lie in the scene. Throws before an image is shown. */
  whole(): Lie {
    if (!this.lie) throw new Error('no image is shown yet')
    return this.lie
  }

  setSeen(label: number, on: boolean): void {
    this.nv.drawLut.lut[label * 4 + 3] = on ? 255 : 0
    const mesh = this.meshes.get(label)
    if (mesh) mesh.visible = on && this.surfaces
    if (this.current) this.nv.refreshColormaps()
    this.nv.drawScene()
  }

  setStyle(style: Style, opacity: number): void {
    this.nv.drawOpacity = style === 'outline' ? HARDLY : Math.max(opacity, HARDLY)
    this.nv.drawRimOpacity = style === 'fill' ? -1 : 1
    this.nv.drawScene()
  }

  setView(view: View): void {
    this.turning = view === '3d'
    if (view === 'multi') {
      this.nv.setSliceType(SLICE_TYPE.MULTIPLANAR)
      this.nv.setCustomLayout(QUARTERS)
    } else {
      this.nv.clearCustomLayout()
      this.nv.setSliceType(SLICE[view])
    }
  }

  setRadiological(on: boolean): void {
    this.nv.opts.isRadiologicalConvention = on
    this.nv.drawScene()
  }

  setMode(mode: Mode): void {
    this.mode = mode
    const left = mode === 'window' ? DRAG_MODE.windowing : DRAG_MODE.crosshair
    this.nv.setMouseEventConfig({
      leftButton: { primary: left, withShift: DRAG_MODE.pan },
      rightButton: DRAG_MODE.windowing,
      centerButton: DRAG_MODE.pan,
    })
    this.nv.setTouchEventConfig({ singleTouch: left, doubleTouch: DRAG_MODE.pan })
    this.drawing.enable(mode === 'draw')
  }

  /** Move the crosshair by scene voxels. */
  step([x, y, z]: Vec3): void {
    if (this.current) this.nv.moveCrosshairInVox(x, y, z)
  }

  goTo(mm: Vec3): void {
    this.nv.scene.crosshairPos = this.nv.vox2frac(this.nv.frac2vox(this.nv.mm2frac([...mm], 0, true)))
    this.nv.createOnLocationChange()
    this.nv.drawScene()
  }

  /** Go to where most of a label is; false if the drawing has none of it. */
  goToLabel(label: number): boolean {
    const voxel = this.drawing.middle(label)
    if (!voxel) return false
    this.nv.scene.crosshairPos = this.nv.vox2frac([...voxel])
    this.nv.createOnLocationChange()
    this.nv.drawScene()
    return true
  }

  private placeMm(): Vec3 {
    const [x = 0, y = 0, z = 0] = this.nv.frac2mm(this.nv.scene.crosshairPos, 0, true)
    return [x, y, z]
  }

  private moved(place: { mm: ArrayLike<number>; axCorSag: number }): void {
    const image = this.current?.image
    if (!image) return
    const plane = PLANES[place.axCorSag]
    if (plane) this.told.plane(plane)
    const mm: Vec3 = [place.mm[0] ?? 0, place.mm[1] ?? 0, place.mm[2] ?? 0]
    const [x = 0, y = 0, z = 0] = this.nv.frac2vox(this.nv.scene.crosshairPos)
    this.told.cursor({ mm, voxel: [x, y, z], intensity: image.getValue(x, y, z), label: this.drawing.labelHere() })
  }

  window(): Window {
    const image = this.current?.image
    return { low: image?.cal_min ?? 0, high: image?.cal_max ?? 1 }
  }

  range(): Range {
    return this.current?.range ?? { min: 0, max: 1 }
  }

  initialWindow(): Window {
    return this.current?.initial ?? { low: 0, high: 1 }
  }

  /** Set the window at once in name, and on screen at most once a frame: it recolours the whole volume. */
  setWindow({ low, high }: Window): void {
    const picture = this.current
    if (!picture) return
    picture.image.cal_min = low
    picture.image.cal_max = high
    this.windowFrame ||= requestAnimationFrame(() => {
      this.windowFrame = 0
      this.nv.refreshLayers(picture.image, 0)
      this.nv.drawScene()
    })
  }

  private dragWindow(x: number, y: number): void {
    const ui = this.nv.uiData
    const changed = dragged(this.window(), x - ui.windowX, y - ui.windowY, this.range())
    ui.windowX = x
    ui.windowY = y
    this.setWindow(changed)
    this.told.window(changed)
  }

  /** Zoom the slices around the crosshair; 0 shows them whole again. */
  zoom(factor: number): void {
    zoomSlices(this.nv, factor)
  }

  /** Add the surface of a label for 3D. */
  async addSurface(label: SceneLabel, file: Uint8Array<ArrayBuffer>): Promise<void> {
    const mesh = await NVMesh.loadFromUrl({
      url: `${label.value}.mz3`,
      name: `${label.value}.mz3`,
      buffer: file.buffer,
      gl: this.nv.gl,
      rgba255: new Uint8Array([...label.rgb, 255]) as never,
      visible: this.surfaces,
    })
    if (mesh.tris && signedVolume(mesh.pts, mesh.tris) < 0) mesh.reverseFaces(this.nv.gl)
    this.meshes.set(label.value, mesh)
    this.nv.addMesh(mesh)
  }

  /** Whether 3D shows the surfaces (they belong to the model's answer only) or the drawing. */
  showSurfaces(on: boolean, isSeen: (label: number) => boolean): void {
    this.surfaces = on && this.meshes.size > 0
    for (const [label, mesh] of this.meshes) mesh.visible = this.surfaces && isSeen(label)
    this.nv.drawScene()
  }

  /** Draw now and copy what is on screen: afterwards the browser may forget the pixels. */
  snapshot(): HTMLCanvasElement {
    const copy = document.createElement('canvas')
    const shown = this.nv.canvas
    if (!shown) return copy
    copy.width = shown.width
    copy.height = shown.height
    this.tamed.drawNow()
    copy.getContext('2d')?.drawImage(shown, 0, 0)
    return copy
  }

  /** Draw at once; returns when the pictures are there. */
  drawFirst(): void {
    this.tamed.drawNow()
  }
}
