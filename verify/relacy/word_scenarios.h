// word_scenarios.h: the word of a VMA's lock alone, without the space, its sequence and its lock:
// few enough steps for every schedule to be tried.
#pragma once

#include "harness.h"
#include "sync/vma_entry.h"
#include "sync/vma_refcount.h"

namespace pervma::verify {

// `refcount`'s functions are on a word that lies elsewhere.
class RefcountWord {
  using Count = BasicVmaRefcount<RelacyPlatform>;

 public:
  Entry try_enter() { return Count::try_enter(word_); }
  void leave() { Count::leave(word_); }
  bool exclude(const RelacyStopToken& stop) { return Count::exclude(word_, stop); }
  void admit() { Count::admit(word_); }
  void open() { Count::open(word_); }
  void close() { Count::close(word_); }

 private:
  Count::Word word_{0};
};

// Open, around something that only one writer, or readers, may look at.
template <class Word, class Self>
struct WordScenario : Scenario<Self, 2> {
  Word word;
  RelacyPlain<uint64_t> data{10};

  void before() { word.open(); }
  void read(std::initializer_list<uint64_t> lives) {
    if (word.try_enter() != Entry::entered) return;
    const uint64_t value = data;
    bool known = false;
    for (const uint64_t life : lives) known |= value == life;
    RL_ASSERT(known);
    word.leave();
  }
  void write(uint64_t value) {
    RL_ASSERT(word.exclude({}));
    data = value;
    word.admit();
  }
};

template <class Word>
struct WordAgainstWriter : WordScenario<Word, WordAgainstWriter<Word>> {
  void thread(unsigned i) { i == 0 ? this->read({10, 11}) : this->write(11); }
  void after() { RL_ASSERT(this->data == 11 && this->word.try_enter() == Entry::entered); }
};

// Closed, its memory free; then open again, around something else.
template <class Word>
struct WordAgainstReuse : WordScenario<Word, WordAgainstReuse<Word>> {
  void thread(unsigned i) {
    if (i == 0) {
      this->read({10, 20});
      return;
    }
    this->word.close();
    this->data = 0;
    this->data = 20;
    this->word.open();
  }
  void after() { RL_ASSERT(this->word.try_enter() == Entry::entered); }
};

template <class Word>
struct WordAgainstDetach : WordScenario<Word, WordAgainstDetach<Word>> {
  void thread(unsigned i) {
    if (i == 0) {
      this->read({10});
      return;
    }
    this->word.close();
    this->data = 0;
  }
  void after() { RL_ASSERT(this->word.try_enter() == Entry::detached); }
};

// A reader inside stops the writer, or is too late for that.
template <class Word>
struct WordAgainstStop : WordScenario<Word, WordAgainstStop<Word>> {
  RelacyStopSource stop;
  void thread(unsigned i) {
    if (i == 0) {
      this->read({10, 11});
      stop.request_stop();
    } else if (this->word.exclude(stop.token())) {
      this->data = 11;
      this->word.admit();
    }
  }
  void after() {
    RL_ASSERT(this->word.try_enter() == Entry::entered);
    this->word.leave();
    this->write(12);
  }
};

}  // namespace pervma::verify
