// Claims about what is guessed (speculate.h), on texts of numbers. A step of any length costs the
// same here, so that every guess is worth a try.
#include <numeric>

#include "claims.h"
#include "llm/speculate.h"

namespace {

using penlight::llm::Speculation;

struct Text {
    Speculation speculation;

    // A prompt of the tokens 100 to 139.
    Text() {
        std::vector<int32_t> prompt(40);
        std::iota(prompt.begin(), prompt.end(), 100);
        EXPECT(speculation.start(prompt.data(), prompt.size(), PENLIGHT_LLM_SPECULATION_AUTO));
        speculation.measured(1, 0.001);
        for (size_t length = 2; length <= 16; length++) speculation.measured(length, 0.001);
    }
    // Drawn, with a guess in front of each, as an answer is.
    void say(const std::vector<int32_t>& tokens) {
        for (int32_t token : tokens) {
            guess();
            EXPECT(speculation.push(token));
        }
    }
    std::vector<int32_t> guess() {
        std::vector<int32_t> draft(8);
        draft.resize(speculation.draft(draft.data(), draft.size()));
        return draft;
    }
};

}  // namespace

CLAIM(what_followed_two_tokens_before_is_guessed) {
    Text text;
    text.say({7, 110, 111});
    EXPECT(!text.guess().empty() && text.guess()[0] == 112);
    text.say({9});
    EXPECT(text.guess().empty());
}

CLAIM(one_token_is_enough_where_a_word_was_replaced) {
    Text text;
    text.say({110, 111, 112, 113, 9});  // in place of 114
    EXPECT(text.guess().empty());
    text.say({115});
    EXPECT(!text.guess().empty() && text.guess()[0] == 116);
}

CLAIM(one_token_is_enough_where_words_were_added_or_left_out) {
    Text added;
    added.say({110, 111, 112, 113, 7, 8, 9, 114});
    EXPECT(!added.guess().empty() && added.guess()[0] == 115);
    Text left_out;
    left_out.say({110, 111, 112, 113, 119});
    EXPECT(!left_out.guess().empty() && left_out.guess()[0] == 120);
}

CLAIM(one_token_is_not_enough_elsewhere) {
    Text unfollowed;
    unfollowed.say({110, 111, 9, 113});
    EXPECT(unfollowed.guess().empty());
    Text far;
    far.say({110, 111, 112, 113, 135});
    EXPECT(far.guess().empty());
    Text late;
    late.say({110, 111, 112, 113, 1, 2, 3, 4, 5, 6, 7, 8, 9, 115});
    EXPECT(late.guess().empty());
}

CLAIM(a_new_text_is_not_searched_where_the_last_one_was_left) {
    Text text;
    text.say({100, 101, 102, 9});
    const std::vector<int32_t> other{1, 2, 3, 115};
    EXPECT(text.speculation.start(other.data(), other.size(), PENLIGHT_LLM_SPECULATION_AUTO));
    text.say({115});
    EXPECT(text.guess().empty());
}
