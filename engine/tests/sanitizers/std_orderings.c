// What ThreadSanitizer must be told about the standard library, which comes built without it. Linked into the
// binaries of run.sh only, by the linker's --wrap.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void __tsan_release(void *address);

// Arc's drop is a decrement with Release and, by the last owner, a fence with Acquire. ThreadSanitizer does not
// know fences; std built for it acquires by a load instead. The same here: a decrement that releases acquires
// too. One without Release stays what it is.
enum { RELEASE = 3, ACQUIRE_AND_RELEASE = 4 };

uint64_t __real___tsan_atomic64_fetch_sub(volatile uint64_t *count, uint64_t by, int order);

uint64_t __wrap___tsan_atomic64_fetch_sub(volatile uint64_t *count, uint64_t by, int order) {
  return __real___tsan_atomic64_fetch_sub(count, by, order == RELEASE ? ACQUIRE_AND_RELEASE : order);
}

// A `OnceLock` is read by a load that acquires, which is compiled with its reader, and set in std. What is done
// until the setting closure is through is released behind it, before std stores that it is complete.
// Once::call(&self, ignore_poisoning, f: &mut dyn FnMut(&OnceState), caller: &Location)
struct Methods { // of a dyn FnMut
  void (*drop)(void *self);
  size_t size, align;
  void (*call_once)(void *self, void *once_state);
  void (*call_mut)(void *self, void *once_state);
};

struct Setting {
  void *once, *f;
  const struct Methods *methods;
};

static void set_and_release(void *self, void *once_state) {
  struct Setting *setting = self;
  setting->methods->call_mut(setting->f, once_state);
  __tsan_release(setting->once);
}

static const struct Methods setting_methods = {
  NULL, sizeof(struct Setting), _Alignof(struct Setting), set_and_release, set_and_release,
};

void REAL_ONCE_CALL(void *once, bool ignore_poisoning, void *f, const struct Methods *methods, void *caller);

void WRAP_ONCE_CALL(void *once, bool ignore_poisoning, void *f, const struct Methods *methods, void *caller) {
  struct Setting setting = {once, f, methods};
  REAL_ONCE_CALL(once, ignore_poisoning, &setting, &setting_methods, caller);
}

// `thread::scope` ends by a load, compiled with its caller, of a count that its threads take down in std: one of
// the words of this.
// ScopeData::decrement_num_running_threads(&self, panic)
struct ScopeData { uintptr_t words[3]; };

void REAL_SCOPE_DECREMENT(struct ScopeData *scope, bool panic);

void WRAP_SCOPE_DECREMENT(struct ScopeData *scope, bool panic) {
  for (size_t word = 0; word < 3; word++) __tsan_release(&scope->words[word]);
  REAL_SCOPE_DECREMENT(scope, panic);
}
