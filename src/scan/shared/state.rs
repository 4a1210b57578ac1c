//! What all units of a scan share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use rayon::ThreadPool;
use tokio::sync::oneshot;

use super::cache::TileCache;
use super::memory::Memory;
use super::neighbours::NeighbourTiles;
use crate::error::{Error, Result};
use crate::mosaic::Order;
use crate::plan::{Band, Cube};
use crate::runtime;
use crate::warp::Kernel;

pub struct Shared {
    pub cube: Arc<Cube>,
    /// Positions in `cube.bands`, in the order of the output.
    pub bands: Vec<usize>,
    /// The asset keys of the bands, as the items were asked for.
    pub assets: Vec<String>,
    /// Position of the asset that hides pixels of the others.
    pub mask: Option<usize>,
    /// How the items of the bands are taken.
    pub order: Order,
    /// Decoded tiles for later queries.
    pub cache: TileCache,
    /// Decoded tiles for neighbours, where the cache does not keep them.
    pub neighbours: Option<Arc<NeighbourTiles>>,
    /// For large tiles while they are decoded. Who holds some waits for nothing else.
    pub decoding: Memory,
    pool: OnceLock<Arc<ThreadPool>>,
}

impl Shared {
    pub fn new(cube: Arc<Cube>, bands: Vec<usize>) -> Shared {
        let assets = cube.assets(bands.iter().copied());
        let (budget, cache) = (cube.request.memory_budget, TileCache::shared(cube.request.cache_size));
        let neighbours = (!is_small(&cube, &cache)).then(|| Arc::new(NeighbourTiles::new(cube.clone(), budget / 4)));
        let mask = cube.mask.as_ref().and_then(|mask| assets.iter().position(|asset| *asset == mask.asset));
        let order = Order::of(bands.iter().map(|band| cube.bands[*band].method));
        Shared {
            cube,
            bands,
            assets,
            mask,
            order,
            cache,
            neighbours,
            decoding: Memory::new(budget / 4),
            pool: OnceLock::new(),
        }
    }

    /// The bands in the order of the output, each with the position of its asset.
    pub fn with_assets(&self) -> impl Iterator<Item = (usize, &Band)> {
        self.bands.iter().map(|b| {
            let band = &self.cube.bands[*b];
            (self.assets.iter().position(|key| *key == band.asset).unwrap_or(usize::MAX), band)
        })
    }

    /// The distinct kernels of each asset's bands, with the asset's position.
    pub fn kernels(&self) -> Vec<(usize, Kernel)> {
        let mut kernels = Vec::new();
        for (asset, band) in self.with_assets() {
            if !kernels.contains(&(asset, band.kernel)) {
                kernels.push((asset, band.kernel));
            }
        }
        kernels
    }

    /// Runs `body` on a compute thread.
    pub async fn on_pool<T: Send + 'static>(&self, body: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (send, receive) = oneshot::channel();
        self.pool()?.spawn(move || {
            if send.is_closed() {
                return;
            }
            let result =
                catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| Err(Error::of_panic(payload.as_ref())));
            runtime::tell(send, result);
        });
        receive.await.map_err(|_| Error::Cancelled)?
    }

    fn pool(&self) -> Result<&Arc<ThreadPool>> {
        match self.pool.get() {
            Some(pool) => Ok(pool),
            None => {
                let pool = runtime::compute(self.cube.request.threads)?;
                Ok(self.pool.get_or_init(|| pool))
            }
        }
    }
}

/// Whether what one band takes from one item may stay in the process's cache for the next query.
fn is_small(cube: &Cube, cache: &TileCache) -> bool {
    let widest = cube.bands.iter().map(|band| band.source_dtype.size()).max().unwrap_or(1);
    let pixels = cube.target.pixels() as f64 * cube.source_pixels;
    cache.has_room_for((pixels * widest as f64) as u64)
}
