import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { Plugin } from 'vite'
import { defineConfig } from 'vitest/config'

/**
 * Text that compresses well also lies there as .gz, so that the server never compresses. Made of the files as written:
 * earlier, some of Vite's own placeholders are still in the code.
 */
function precompressed(): Plugin {
  return {
    name: 'precompressed',
    apply: 'build',
    writeBundle(options, bundle) {
      for (const name of Object.keys(bundle)) {
        if (!/\.(js|css|svg|wasm|json)$/.test(name)) continue
        const path = join(options.dir ?? '', name)
        const source = readFileSync(path)
        const packed = gzipSync(source, { level: 9 })
        if (packed.length < source.length) writeFileSync(`${path}.gz`, packed)
      }
    },
  }
}

/** The viewer library also reads Zarr, which we never show: leave its decompressors (1.4 MB) out of the bundle. */
function withoutZarrCodecs(): Plugin {
  return {
    name: 'without-zarr-codecs',
    enforce: 'pre',
    resolveId: (source) => (/^numcodecs\/(blosc|lz4|zstd)$/.test(source) ? '\0no-codec' : null),
    load: (id) => (id === '\0no-codec' ? 'export default null' : null),
  }
}

export default defineConfig({
  base: '/',
  plugins: [withoutZarrCodecs(), precompressed()],
  build: {
    outDir: '../src/hope/web/static',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 2000,
    reportCompressedSize: true,
    // The licences of what is bundled travel with it.
    license: { fileName: 'licences.md' },
  },
  server: {
    port: 5173,
    strictPort: true,
    proxy: { '/api': process.env.HOPE_API ?? 'http://127.0.0.1:8080' },
  },
  test: { include: ['tests/**/*.test.ts', 'src/**/*.test.ts'], environment: 'node' },
})
