//! What segments that are opened together share for as long as one of them is open: an engine, a
//! budget, and one pool for all of their components that are in one.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::thread;
use std::time::Duration;

use ringpool_bufferpool::{Pool, PoolError, PoolOptions, Populating};
use ringpool_compat_mmap::MmapOptions;
use ringpool_index::{ComponentFile, Manifest, Patience};
use ringpool_storage::{PageDevice, PageSize, PageSource};
use ringpool_uring::Engine;

use crate::config::HotSetAtClose;
use crate::plan::{Plan, Rules};
use crate::shares::{self, Claim};
use crate::warm::{Pooled, Warm};
use crate::{Error, OpenOptions, Portion, WarmUp};

/// What the originals are read through, made of their backend.
pub type Through = Arc<dyn Fn(Arc<dyn PageSource>) -> Arc<dyn PageSource> + Send + Sync>;

/// How often who waits for another change looks whether it is over.
const GLANCE: Duration = Duration::from_millis(1);

pub(crate) struct Together {
    rules: Rules,
    plan: Plan,
    pub(crate) mmap: MmapOptions,
    pub(crate) warm_up: WarmUp,
    hot_set: HotSetAtClose,
    pub(crate) through: Option<Through>,
    pub(crate) engine: Engine,
    /// Once there is something in it.
    pool: Mutex<Option<Pool>>,
    populate: Warm,
    /// The thread that gives the pool's frames their memory.
    populating: Mutex<Option<Populating>>,
    /// What is in the pool now; what searches still read that began before a change is not.
    claims: Mutex<Vec<Kept>>,
    /// Whether the pool is somebody else's.
    is_shared: bool,
    /// Pages that were read straight from the disk by searches.
    pub(crate) direct_reads: Arc<AtomicU64>,
    /// Whoever changes what is open has this.
    changing: Mutex<()>,
}

/// A claim on the pool for as long as a segment has it open.
#[derive(Clone)]
struct Kept {
    pooled: Weak<Pooled>,
    name: String,
    portion: Portion,
}

impl Kept {
    fn of(claim: &Claim) -> Self {
        let Claim { pooled, name, portion } = claim.clone();
        Self { pooled: Arc::downgrade(&pooled), name, portion }
    }

    fn claim(&self) -> Option<Claim> {
        let (pooled, name) = (self.pooled.upgrade()?, self.name.clone());
        Some(Claim { pooled, name, portion: self.portion })
    }
}

impl Together {
    /// For the segments in `dirs`, and for those that come later.
    pub(crate) fn new(
        dirs: &[&Path],
        options: &OpenOptions,
        shared: Option<&Pool>,
        through: Option<Through>,
    ) -> Result<Arc<Self>, Error> {
        let manifests = dirs.iter().map(|dir| Manifest::read(dir));
        let manifests = manifests.collect::<Result<Vec<_>, _>>()?;
        let (plan, rules) = Plan::of(&manifests, options, shared)?;
        plan.check()?;
        Ok(Arc::new(Self {
            rules,
            plan,
            mmap: options.mmap,
            warm_up: options.warm_up.clone(),
            hot_set: options.hot_set,
            through,
            engine: Engine::start(options.engine)?,
            pool: Mutex::new(shared.cloned()),
            populate: options.populate.unwrap_or(Warm::Background),
            populating: Mutex::default(),
            claims: Mutex::default(),
            is_shared: shared.is_some(),
            direct_reads: Arc::default(),
            changing: Mutex::default(),
        }))
    }

    /// Where components go of which nothing more is said later.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// As it was made when the first segments were opened.
    pub(crate) fn plan(&self) -> Plan {
        self.plan.clone()
    }

    /// Whether what is in the pool is noted when an index is closed.
    pub(crate) fn saves_hot_sets(&self) -> bool {
        self.hot_set == HotSetAtClose::Save
    }

    /// What the pool has, or would have.
    pub(crate) fn memory_budget_bytes(&self) -> u64 {
        self.plan.memory_budget_bytes
    }

    /// Held by whoever changes what is open, so that changes come one after the other. Waits for the
    /// others as long as `patience` lasts.
    pub(crate) fn change(&self, patience: &Patience<'_>) -> Result<MutexGuard<'_, ()>, Error> {
        loop {
            match self.changing.try_lock() {
                Ok(changing) => return Ok(changing),
                Err(TryLockError::Poisoned(changing)) => return Ok(changing.into_inner()),
                Err(TryLockError::WouldBlock) => patience.check()?,
            }
            thread::sleep(GLANCE);
        }
    }

    /// Its engine, when nobody has it open any more.
    pub(crate) fn into_engine(self) -> Engine {
        self.engine
    }

    /// The pool, where something is or was in one.
    pub(crate) fn pool(&self) -> Option<Pool> {
        locked(&self.pool).clone()
    }

    /// Puts a file into the pool.
    pub(crate) fn attach(
        &self,
        device: Arc<dyn PageDevice>,
        file: &ComponentFile,
    ) -> Result<Arc<Pooled>, Error> {
        let pool = self.pool_of(file.page_size);
        let pool = pool.map_err(|error| self.too_little(error))?;
        let attach = || pool.attach(device.clone(), Some(file.checksums.clone()));
        // What others are sure of by default is no reason to keep somebody out.
        let attached = attach().or_else(|error| {
            if self.is_shared {
                return Err(error);
            }
            locked(&self.claims).iter().filter_map(Kept::claim).try_for_each(|c| c.let_go())?;
            attach()
        });
        let attached = attached.map(Arc::new).map_err(|error| self.too_little(error))?;
        let (kind, key) = (file.kind, file.checksums.key());
        Ok(Arc::new(Pooled::new(kind, attached, key)))
    }

    /// The pool that is shared, or else one for everything that is to be in one.
    fn pool_of(&self, page_size: PageSize) -> Result<Pool, PoolError> {
        let mut pool = locked(&self.pool);
        if let Some(pool) = &*pool {
            return Ok(pool.clone());
        }
        let memory_bytes = self.plan.memory_budget_bytes;
        let new = Pool::new(&PoolOptions { memory_bytes, page_size, ..PoolOptions::default() })?;
        self.populate(&new);
        Ok(pool.insert(new).clone())
    }

    /// Gives the frames of `pool` their memory. Where that is refused they take it when they are
    /// first used.
    fn populate(&self, pool: &Pool) {
        if self.populate == Warm::None {
            return;
        }
        let populating = pool.populate().ok();
        match self.populate {
            Warm::BeforeServing => drop(populating.map(Populating::wait)),
            _ => *locked(&self.populating) = populating,
        }
    }

    /// Shares the pool out anew: `left` is there for old searches alone from now on, and of each
    /// of `claims`, what was known before is replaced. What no segment has open is forgotten.
    pub(crate) fn share_out(&self, left: &[Arc<Pooled>], claims: Vec<Claim>) -> Result<(), Error> {
        let mut known = locked(&self.claims);
        let is_replaced = |one: &Arc<Pooled>| {
            let mut others = left.iter().chain(claims.iter().map(|claim| &claim.pooled));
            others.any(|other| Arc::ptr_eq(one, other))
        };
        let stays = |one: &&Kept| one.pooled.upgrade().is_some_and(|one| !is_replaced(&one));
        let mut now: Vec<Kept> = known.iter().filter(stays).cloned().collect();
        now.extend(claims.iter().map(Kept::of));
        // What stays in the pool with other words is both left and claimed.
        let is_claimed = |one: &Arc<Pooled>| claims.iter().any(|c| Arc::ptr_eq(&c.pooled, one));
        let left: Vec<Arc<Pooled>> = left.iter().filter(|one| !is_claimed(one)).cloned().collect();
        if let Some(pool) = self.pool() {
            let all: Vec<Claim> = now.iter().filter_map(Kept::claim).collect();
            shares::share_out(&pool, &left, &all, !self.is_shared)?;
        }
        *known = now;
        Ok(())
    }

    /// Shares the pool out among those that are in it, after somebody was not let in.
    pub(crate) fn share_out_again(&self) {
        // It was so before; should it fail all the same, what is sure is less, and nothing wrong.
        let _ = self.share_out(&[], Vec::new());
    }

    /// What the pool of one file lacks is said for all that are in it.
    fn too_little(&self, error: PoolError) -> Error {
        let is_small =
            matches!(error, PoolError::BelowMinimum { .. } | PoolError::TableTooLarge { .. });
        if self.is_shared || !is_small {
            return Error::Pool(error);
        }
        let Plan { memory_budget_bytes: memory_bytes, least_bytes: minimum_bytes, .. } = self.plan;
        Error::TooLittleMemory { memory_bytes, minimum_bytes }
    }
}

/// What these locks guard is whole whatever panicked while one was held.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
