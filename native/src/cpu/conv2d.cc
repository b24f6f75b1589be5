// conv2d: out = act(conv(upsample(x)) + bias) + residual, channels last, as a matrix product without an im2col matrix.
//
// Rows are output pixels, columns output channels, K = (tap row, tap column, channel). Weights [O, kh, kw, C] are a
// row-major [O, K] matrix and are packed once per call into shared panels (tile.h). An item is a block of output
// rows for a group of panels: the input rows it needs are gathered once into the thread's scratch, converted to the
// product's units, upsampled and zero-padded. There a tap row of an output pixel is one run of kw * C neighbouring
// values, and the next pixel's starts `stride` pixels further, so the tile kernel reads overlapping rows in place, with
// kh runs.
// Blocks are as tall as the L2 allows beside a slab of panels. A small picture is one block, shared out by channels:
// then every panel has one reader, which packs it for itself and finds it in its cache.
//
// VAE decoder, 128 channels 3x3 at 512 x 512: 77 GFLOP, 270 MB read and written, bound by arithmetic; gathering is
// 3 rows copied per row made, under 1 % of the multiply-adds.
#include "cpu/kernels.h"
#include "cpu/tile.h"
#include "runtime/meter.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

constexpr int64_t kL2Bytes = 896 << 10;    // what a slab of panels and the gathered rows may take of a 1 MB L2
constexpr int64_t kSlabBytes = 320 << 10;  // panels that pass over a block together, at least one
constexpr int64_t kUnitsPerWorker = 4;

/// Sizes and the cut of the work; lengths of gathered data in units.
template <class Product>
struct Layout {
  int64_t height, width, channels, out_height, out_width, out_channels, kh, kw;
  int64_t pixel, row, k;                    // units per gathered pixel and row, and along K
  int64_t panels, panel_units;              // of weights
  int64_t block_rows, blocks, gather_rows;  // output rows per block, blocks per picture, input rows of a block
  int64_t slab, groups;                     // panels per slab; groups of panels worked on separately
  bool shared;                              // panels are packed before the work starts, for all blocks

  Layout(const op::Conv2dArgs& a, int workers)
      : height(a.x.shape[1]),
        width(a.x.shape[2]),
        channels(a.x.shape[3]),
        out_height(a.out.shape[1]),
        out_width(a.out.shape[2]),
        out_channels(a.out.shape[3]),
        kh(a.weight.shape[1]),
        kw(a.weight.shape[2]) {
    pixel = units_of<Product>(channels);
    row = (width * a.upsample + a.pad_left + a.pad_right) * pixel;
    k = kh * kw * pixel;
    panels = ceil_div(out_channels, kTileCols);
    panel_units = k * kTileCols;
    slab = std::clamp<int64_t>(kSlabBytes / (panel_units * 4), 1, panels);
    const int64_t fitting = ((kL2Bytes - slab * panel_units * 4) / (row * 4) - kh) / a.stride + 1;
    const int64_t wanted = kUnitsPerWorker * workers, batch = a.x.shape[0];
    const int64_t tallest = ceil_div(batch * out_height * panels, wanted);  // else units would be too few
    block_rows = std::clamp<int64_t>(std::min(fitting, tallest), 1, out_height);
    blocks = ceil_div(out_height, block_rows);
    gather_rows = (block_rows - 1) * a.stride + kh;
    groups = std::clamp<int64_t>(ceil_div(wanted, batch * blocks), 1, panels);
    shared = batch * blocks > 1;
  }
};

template <class Product>
void pack_panel(const op::Conv2dArgs& a, const Layout<Product>& l, int64_t panel, unit* to) {
  with_type(
      a.weight.dtype, [&](auto* typed) __attribute__((always_inline)) {
        using T = std::remove_const_t<std::remove_pointer_t<decltype(typed)>>;
        // An odd number of channels leaves half a unit at every tap; else all of K is one run.
        const bool whole = l.channels % Product::kPerUnit == 0;
        const int64_t runs = whole ? 1 : l.kh * l.kw, length = whole ? l.kh * l.kw * l.channels : l.channels;
        const int64_t stride = l.kh * l.kw * l.channels;
        for (int v = 0; v < 2; v++) {
          const int64_t first = panel * kTileCols + v * kLanes;
          const int64_t rows = std::clamp<int64_t>(l.out_channels - first, 0, kLanes);
          const T* from = a.weight.as<T>() + (rows > 0 ? first * stride : 0);
          for (int64_t run = 0; run < runs; run++)
            pack_rows<Product>(from + run * length, stride, rows, length, to + run * l.pixel * kTileCols + v * kLanes);
        }
      });
}

/// One padded row of the upsampled picture, or zeros when y lies outside it.
template <class Product>
void gather_row(const op::Conv2dArgs& a, const Layout<Product>& l, int64_t picture, int64_t y, unit* to) {
  if (y < 0 || y >= l.height * a.upsample) {
    memset(to, 0, l.row * 4);
    return;
  }
  const int64_t left = a.pad_left * l.pixel, middle = l.width * a.upsample * l.pixel;
  memset(to, 0, left * 4);
  memset(to + left + middle, 0, a.pad_right * l.pixel * 4);
  to += left;
  with_type(
      a.x.dtype, [&](auto* typed) __attribute__((always_inline)) {
        using T = std::remove_const_t<std::remove_pointer_t<decltype(typed)>>;
        const T* from = a.x.as<T>() + (picture * l.height + y / a.upsample) * l.width * l.channels;
        if (a.upsample == 1 && l.channels % Product::kPerUnit == 0) {
          copy_units<Product>(from, l.width * l.channels, to);
          return;
        }
        for (int64_t x = 0; x < l.width; x++, from += l.channels) {
          const unit* first = to;
          copy_units<Product>(from, l.channels, to);
          to += l.pixel;
          for (int copy = 1; copy < a.upsample; copy++, to += l.pixel) memcpy(to, first, l.pixel * 4);
        }
      });
}

/// Finished sums of `count` pixels and one panel's channels; `at` is the first element of out and residual.
template <class Out>
void epilogue(const op::Conv2dArgs& a, int64_t at, int64_t count, int64_t channel, int64_t out_channels,
              const float* sums) {
  for (int v = 0; v < 2; v++, channel += kLanes, sums += kLanes) {
    const int64_t n = std::min<int64_t>(out_channels - channel, kLanes);
    if (n <= 0) return;
    const F zero = {};
    const F bias = a.bias.defined() ? load_some(a.bias.as<float>() + channel, n) : zero;
    const F slope = a.slope.defined() ? load_some(a.slope.as<float>() + channel, n) : zero;
    for (int64_t i = 0; i < count; i++) {
      const int64_t element = at + i * out_channels + channel;
      F value = load(sums + i * kTileCols) + bias;
      if (a.slope.defined()) value = value > 0 ? value : value * slope;
      if (a.residual.defined()) value = value + load_some(a.residual.as<float>() + element, n);
      store_some(a.out.as<Out>() + element, value, n);
    }
  }
}

template <class Product>
void convolve(Context& ctx, const op::Conv2dArgs& a) {
  const int workers = ctx.pool.workers();
  const Layout<Product> l(a, workers);
  Workspace::Frame frame(ctx.workspace);
  const int64_t packed_panels = l.shared ? l.panels : workers * l.slab;
  unit* const weights = static_cast<unit*>(ctx.workspace.bytes(packed_panels * l.panel_units * 4));
  const int64_t gathered_units = ceil_div(l.gather_rows * l.row, 16) * 16;
  unit* const all_gathered = static_cast<unit*>(ctx.workspace.bytes(workers * gathered_units * 4));
  if (ctx.planning()) return;

  if (l.shared)
    parallel_for(ctx.pool, l.panels,
                 [&](int64_t panel, int) { pack_panel(a, l, panel, weights + panel * l.panel_units); });

  const int64_t batch = a.x.shape[0], tiles = ceil_div(l.out_width, kTileRows);
  const Portion all(ctx, 0, 1);
  parallel_for(ctx.pool, batch * l.blocks * l.groups, [&](int64_t index, int worker) {
    const int64_t group = index % l.groups, block = index / l.groups % l.blocks, picture = index / l.groups / l.blocks;
    const int64_t first = block * l.block_rows, rows = std::min(l.block_rows, l.out_height - first);
    unit* const gathered = all_gathered + worker * gathered_units;
    for (int64_t i = 0; i < (rows - 1) * a.stride + l.kh; i++)
      gather_row(a, l, picture, first * a.stride - a.pad_top + i, gathered + i * l.row);

    const int64_t group_end = l.panels * (group + 1) / l.groups;
    for (int64_t slab = l.panels * group / l.groups; slab < group_end; slab += l.slab) {
      const int64_t slab_end = std::min(slab + l.slab, group_end);
      unit* const panels = weights + (l.shared ? slab : worker * l.slab) * l.panel_units;
      for (int64_t panel = slab; panel < slab_end && !l.shared; panel++)
        pack_panel(a, l, panel, panels + (panel - slab) * l.panel_units);
      for (int64_t i = 0; i < rows * tiles; i++) {
        const int64_t y = i / tiles, t = i % tiles;
        const int64_t x = l.out_width * t / tiles, count = l.out_width * (t + 1) / tiles - x;
        TileA pixels = {gathered + y * a.stride * l.row + x * a.stride * l.pixel, a.stride * l.pixel, l.kw * l.pixel};
        pixels.runs = l.kh;
        pixels.run_stride = l.row;
        const int64_t at = ((picture * l.out_height + first + y) * l.out_width + x) * l.out_channels;
        for (int64_t panel = slab; panel < slab_end; panel++) {
          alignas(64) float sums[kTileRows * kTileCols];
          tile<Product>(count, pixels, panels + (panel - slab) * l.panel_units, sums, kTileCols, false);
          if (a.out.dtype == DType::F32)
            epilogue<float>(a, at, count, panel * kTileCols, l.out_channels, sums);
          else
            epilogue<bf16>(a, at, count, panel * kTileCols, l.out_channels, sums);
        }
      }
    }
  });
}

}  // namespace

void conv2d(Context& ctx, const op::Conv2dArgs& a) {
  if (a.compute == DType::F32)
    convolve<Fma>(ctx, a);
  else
    convolve<Bf16Product>(ctx, a);
}

}  // namespace iconface::cpu::ICONFACE_ISA
