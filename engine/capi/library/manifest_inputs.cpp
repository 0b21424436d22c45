#include "manifest_inputs.hpp"

#include <algorithm>

#include "manifest_checks.hpp"

namespace mmcaf {
namespace {

Step step_of(const Json &json, const std::string &where) {
    Fields fields(json, where);
    Step step;
    const std::string kind =
        fields.choice("step", {"resize", "center_crop", "clip_scale", "subtract", "resize_volume", "standardise"});
    const auto sides = [&] {
        step.rows = static_cast<size_t>(fields.whole("rows", 1, 4096));
        step.columns = static_cast<size_t>(fields.whole("columns", 1, 4096));
    };
    if (kind == "resize") {
        step.kind = Step::Kind::resize;
        fields.choice_or("method", {"area"}, "area");
        sides();
        const std::string rounding = fields.choice("rounding", {"none", "half_even", "opencv"});
        step.rounding = rounding == "none"        ? Step::Rounding::none
                        : rounding == "half_even" ? Step::Rounding::half_even
                                                  : Step::Rounding::opencv;
    } else if (kind == "center_crop") {
        step.kind = Step::Kind::center_crop;
        sides();
    } else if (kind == "clip_scale") {
        step.kind = Step::Kind::clip_scale;
        step.lower = fields.number("lower");
        step.upper = fields.number("upper");
        if (step.lower >= step.upper) throw Invalid{where, "Value error, lower must be below upper"};
    } else if (kind == "subtract") {
        step.kind = Step::Kind::subtract;
        step.value = fields.number("value");
    } else if (kind == "resize_volume") {
        step.kind = Step::Kind::resize_volume;
        fields.choice_or("method", {"adaptive_area"}, "adaptive_area");
        size_t axis = 0;
        fields.each("size", [&](const Json &item, const std::string &at) {
            if (axis == 3) throw Invalid{where, "size: three whole numbers are expected"};
            step.size[axis++] = static_cast<size_t>(whole_of(item, at, 1, 1024));
        });
        if (axis != 3) throw Invalid{where, "size: three whole numbers are expected"};
    } else {
        step.kind = Step::Kind::standardise;
    }
    fields.end();
    return step;
}

WindowSpec windows_of(const Json &json, const std::string &where) {
    Fields fields(json, where);
    WindowSpec spec;
    spec.slices = fields.whole("slices", 1, 4096);
    spec.stride = fields.whole("stride", 1, 4096);
    spec.pad_value = fields.number("pad_value");
    spec.trained_on_lesion = fields.choice_or("trained_on", {"study", "lesion"}, "study") == "lesion";
    if (fields.maybe("lesion_field") != nullptr) spec.lesion_field = fields.text("lesion_field", 1, 64);
    spec.order_by_axes = fields.choice_or("order", {"head", "axes"}, "head") == "axes";
    fields.end();
    return spec;
}

std::optional<Cut> cut_of(Fields &around) {
    const Json *json = around.maybe("cut");
    if (json == nullptr) return std::nullopt;
    Fields fields(*json, around.path("cut"));
    Cut cut;
    cut.value = fields.number("value");
    cut.above = fields.choice("direction", {"above", "below"}) == "above";
    fields.ignore({"label"});
    fields.end();
    return cut;
}

std::optional<RecordValue> imputed_of(Fields &around) {
    const Json *json = around.given("missing");
    if (json == nullptr) return std::nullopt;
    Fields fields(*json, around.path("missing"));
    std::optional<RecordValue> value;
    if (fields.choice("policy", {"refuse", "impute"}) == "impute") {
        const Json &given = fields.need("value");
        if (given.is(Json::Kind::text)) {
            value = text_of(given, fields.path("value"));
        } else {
            value = number_of(given, fields.path("value"));
        }
    }
    fields.end();
    return value;
}

Named<double> named_numbers(Fields &fields, const char *name) {
    Named<double> found;
    fields.pairs(name, [&](const std::string &key, const Json &value, const std::string &at) {
        found.emplace_back(key, number_of(value, at));
    });
    return found;
}

TableField field_of(const Json &json, const std::string &where) {
    Fields fields(json, where);
    TableField field;
    field.name = fields.text("name");
    fields.text("description");
    fields.ignore({"fhir", "max_age_days"});
    field.cut = cut_of(fields);
    field.imputed = imputed_of(fields);
    if (fields.choice("kind", {"category", "number"}) == "category") {
        field.kind = TableField::Kind::category;
        if (fields.maybe("dicom") != nullptr) field.dicom = fields.choice("dicom", {"PatientSex"});
        field.categories = named_numbers(fields, "categories");
        fields.pairs("synonyms", [&](const std::string &key, const Json &value, const std::string &at) {
            field.synonyms.emplace_back(key, text_of(value, at));
        });
        if (fields.given("divisor") != nullptr) field.divisor = fields.number("divisor");
    } else {
        field.kind = TableField::Kind::number;
        if (fields.maybe("dicom") != nullptr) field.dicom = fields.choice("dicom", {"PatientAge", "PatientWeight"});
        field.unit = fields.text("unit");
        field.units = named_numbers(fields, "units");
        field.minimum = fields.number("minimum");
        field.maximum = fields.number("maximum");
        const std::string scaling = fields.choice_or("scaling", {"min_max", "standardise"}, "min_max");
        field.lower = fields.maybe_number("lower");
        field.upper = fields.maybe_number("upper");
        field.mean = fields.maybe_number("mean");
        field.std = fields.maybe_number("std");
        check_scaling(field, scaling, where);
    }
    fields.end();
    check_field(field, where);
    return field;
}

}  // namespace

PreprocessingSpec preprocessing_of(const Json &json, const std::string &where) {
    Fields fields(json, where);
    PreprocessingSpec spec;
    spec.modality = fields.choice("modality", {"CT", "MR"});
    const std::string intensity = fields.choice("intensity", {"hounsfield", "rescaled", "stored"});
    spec.intensity = intensity == "hounsfield" ? Intensity::hounsfield
                     : intensity == "rescaled" ? Intensity::rescaled
                                               : Intensity::stored;
    if (const Json *windows = fields.maybe("windows")) spec.windows = windows_of(*windows, fields.path("windows"));
    fields.need("steps");
    fields.each("steps", [&](const Json &item, const std::string &at) { spec.steps.push_back(step_of(item, at)); });
    spec.accept_oblique = fields.choice_or("oblique", {"refuse", "accept"}, "refuse") == "accept";
    spec.axes = fields.text_or("axes", "SPL", 3);
    fields.end();
    check_preprocessing(spec, where);
    return spec;
}

ImageSpec image_of(const Json &json, const std::string &where) {
    Fields fields(json, where);
    ImageSpec spec;
    if (fields.maybe("modality") != nullptr) spec.modality = fields.texts("modality", 16);
    spec.view = fields.choice_or("view", {"frontal", "lateral", "any"}, "frontal");
    std::vector<size_t> sides;
    fields.each("size", [&](const Json &item, const std::string &at) {
        sides.push_back(static_cast<size_t>(whole_of(item, at, 1, 4096)));
    });
    if (sides.size() != 2) throw Invalid{fields.path("size"), "two whole numbers are expected"};
    spec.rows = sides[0];
    spec.columns = sides[1];
    fields.choice_or("interpolation", {"bilinear"}, "bilinear");
    spec.channels = static_cast<size_t>(fields.whole("channels", 1, 3));
    spec.mean = fields.numbers("mean");
    spec.std = fields.numbers("std");
    fields.end();
    const bool positive = std::all_of(spec.std.begin(), spec.std.end(), [](double one) { return one > 0; });
    if (spec.channels == 2 || spec.mean.size() != spec.channels || spec.std.size() != spec.channels || !positive) {
        throw Invalid{where, "mean and std must hold one value for each of 1 or 3 channels"};
    }
    return spec;
}

TableSpec table_of(const Json &json, const std::string &where) {
    Fields fields(json, where);
    TableSpec spec;
    fields.each("fields", [&](const Json &item, const std::string &at) { spec.fields.push_back(field_of(item, at)); });
    spec.ignored = fields.texts("ignored");
    fields.end();
    return spec;
}

}  // namespace mmcaf
