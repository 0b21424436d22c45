#include "turned_volume.hpp"

namespace mmcaf {

namespace {

// From the caller's memory, by the distance in values from one to the next along each turned axis.
struct View {
    Shape shape;
    std::array<ptrdiff_t, 3> step;
    ptrdiff_t origin;

    View(const Shape &given, const Turn &turn) : shape{}, step{}, origin(0) {
        const std::array<ptrdiff_t, 3> steps{static_cast<ptrdiff_t>(given[1] * given[2]),
                                             static_cast<ptrdiff_t>(given[2]), 1};
        for (size_t axis = 0; axis < 3; ++axis) {
            const size_t from = turn.from[axis];
            shape[axis] = given[from];
            step[axis] = turn.flipped[axis] ? -steps[from] : steps[from];
            if (turn.flipped[axis]) origin += steps[from] * (static_cast<ptrdiff_t>(given[from]) - 1);
        }
    }

    bool lies_as_it_is() const { return step[1] == static_cast<ptrdiff_t>(shape[2]) && step[2] == 1; }

    template <class Value> const Value *slice(const Value *values, size_t index) const {
        return values + origin + static_cast<ptrdiff_t>(index) * step[0];
    }

    template <class Value> void copy(const Value *values, size_t index, std::vector<Value> &into) const {
        into.resize(shape[1] * shape[2]);
        Value *out = into.data();
        for (size_t row = 0; row < shape[1]; ++row) {
            const Value *line = slice(values, index) + static_cast<ptrdiff_t>(row) * step[1];
            for (size_t column = 0; column < shape[2]; ++column) *out++ = line[static_cast<ptrdiff_t>(column) * step[2]];
        }
    }
};

std::shared_ptr<TurnedSlice> turned(const int16_t *whole, const float *real, const View &view, size_t index) {
    auto found = std::make_shared<TurnedSlice>();
    found->slice = {view.shape[1], view.shape[2], nullptr, nullptr};
    if (view.lies_as_it_is()) {
        if (whole != nullptr) found->slice.whole = view.slice(whole, index);
        if (real != nullptr) found->slice.real = view.slice(real, index);
    } else if (whole != nullptr) {
        view.copy(whole, index, found->whole);
        found->slice.whole = found->whole.data();
    } else {
        view.copy(real, index, found->real);
        found->slice.real = found->real.data();
    }
    return found;
}

using Receive = std::function<void(size_t, std::shared_ptr<const TurnedSlice>)>;

void each_in_memory(const int16_t *whole, const float *real, const View &view, const Receive &receive) {
    for (size_t index = 0; index < view.shape[0]; ++index) receive(index, turned(whole, real, view, index));
}

// As they come: a slice is a volume of one, with the same turn of its rows and columns.
template <class Value> void each_as_it_comes(const Volume &volume, const Turn &turn, const Receive &receive) {
    Turn in_plane = turn;
    in_plane.flipped[0] = false;
    const View view({1, volume.shape[1], volume.shape[2]}, in_plane);
    for (size_t index = 0; index < volume.shape[0]; ++index) {
        std::vector<Value> values(volume.shape[1] * volume.shape[2]);
        volume.source(index, values.data());
        std::shared_ptr<TurnedSlice> found;
        if constexpr (std::is_same_v<Value, int16_t>) {
            found = turned(values.data(), nullptr, view, 0);
            if (view.lies_as_it_is()) found->whole = std::move(values);  // which moves no value
        } else {
            found = turned(nullptr, values.data(), view, 0);
            if (view.lies_as_it_is()) found->real = std::move(values);
        }
        receive(turn.flipped[0] ? volume.shape[0] - 1 - index : index, found);
    }
}

template <class Value> void each_of_collected(const Volume &volume, const Turn &turn, const Receive &receive) {
    const size_t size = volume.shape[1] * volume.shape[2];
    std::vector<Value> values(volume.shape[0] * size);
    for (size_t index = 0; index < volume.shape[0]; ++index) volume.source(index, &values[index * size]);
    const View view(volume.shape, turn);
    // Slices are copied, since `values` ends before whoever received them.
    for (size_t index = 0; index < view.shape[0]; ++index) {
        auto found = std::make_shared<TurnedSlice>();
        found->slice = {view.shape[1], view.shape[2], nullptr, nullptr};
        if constexpr (std::is_same_v<Value, int16_t>) {
            view.copy(values.data(), index, found->whole);
            found->slice.whole = found->whole.data();
        } else {
            view.copy(values.data(), index, found->real);
            found->slice.real = found->real.data();
        }
        receive(index, found);
    }
}

}  // namespace

void each_turned_slice(const Volume &volume, const Turn &turn, const Receive &receive) {
    if (!volume.source) {
        each_in_memory(volume.whole_values, volume.real_values, View(volume.shape, turn), receive);
    } else if (turn.from[0] == 0) {
        volume.whole ? each_as_it_comes<int16_t>(volume, turn, receive) : each_as_it_comes<float>(volume, turn, receive);
    } else {
        volume.whole ? each_of_collected<int16_t>(volume, turn, receive) : each_of_collected<float>(volume, turn, receive);
    }
}

}  // namespace mmcaf
