#!/usr/bin/env python3
"""Reads a pprof file with Google's protobuf library, and nothing of perfd's: as folded stacks of one type of samples.

usage: reader.py FILE TYPE      (TYPE as in sample_type; the fields are those of google/pprof's profile.proto)"""
import gzip
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

INT, UINT, STRING, BOOL, MESSAGE = 3, 4, 9, 8, 11
# Message: (field, number, type or message, whether it is repeated)
SCHEMA = {
    "ValueType": [("type", 1, INT, 0), ("unit", 2, INT, 0)],
    "Label": [("key", 1, INT, 0), ("str", 2, INT, 0), ("num", 3, INT, 0), ("num_unit", 4, INT, 0)],
    "Sample": [("location_id", 1, UINT, 1), ("value", 2, INT, 1), ("label", 3, "Label", 1)],
    "Mapping": [
        ("id", 1, UINT, 0), ("memory_start", 2, UINT, 0), ("memory_limit", 3, UINT, 0), ("file_offset", 4, UINT, 0),
        ("filename", 5, INT, 0), ("build_id", 6, INT, 0), ("has_functions", 7, BOOL, 0), ("has_filenames", 8, BOOL, 0),
        ("has_line_numbers", 9, BOOL, 0), ("has_inline_frames", 10, BOOL, 0),
    ],
    "Line": [("function_id", 1, UINT, 0), ("line", 2, INT, 0)],
    "Location": [
        ("id", 1, UINT, 0), ("mapping_id", 2, UINT, 0), ("address", 3, UINT, 0), ("line", 4, "Line", 1),
        ("is_folded", 5, BOOL, 0),
    ],
    "Function": [
        ("id", 1, UINT, 0), ("name", 2, INT, 0), ("system_name", 3, INT, 0), ("filename", 4, INT, 0),
        ("start_line", 5, INT, 0),
    ],
    "Profile": [
        ("sample_type", 1, "ValueType", 1), ("sample", 2, "Sample", 1), ("mapping", 3, "Mapping", 1),
        ("location", 4, "Location", 1), ("function", 5, "Function", 1), ("string_table", 6, STRING, 1),
        ("drop_frames", 7, INT, 0), ("keep_frames", 8, INT, 0), ("time_nanos", 9, INT, 0), ("duration_nanos", 10, INT, 0),
        ("period_type", 11, "ValueType", 0), ("period", 12, INT, 0), ("comment", 13, INT, 1),
        ("default_sample_type", 14, INT, 0),
    ],
}


def profile_class():
    """The class of the message, made from the table above."""
    file = descriptor_pb2.FileDescriptorProto(name="profile.proto", package="perftools.profiles", syntax="proto3")
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            added = message.field.add(name=field, number=number, label=3 if repeated else 1)
            added.type = MESSAGE if isinstance(kind, str) else kind
            if isinstance(kind, str):
                added.type_name = f".perftools.profiles.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName("perftools.profiles.Profile"))


def main(path, wanted):
    profile = profile_class()()
    with gzip.open(path) as file:
        profile.ParseFromString(file.read())
    text = profile.string_table
    assert text[0] == ""
    types = [(text[one.type], text[one.unit]) for one in profile.sample_type]
    column = [name for name, _ in types].index(wanted)
    mappings = {one.id: text[one.filename] for one in profile.mapping}
    functions = {one.id: text[one.name] for one in profile.function}
    marks = {"[user]": "", "[kernel]": "_[k]", "[jit]": "_[j]", "[python]": "_[p]", "[truncated]": ""}
    frames = {}
    for location in profile.location:
        names = [functions[line.function_id] for line in location.line]
        # The last is the function itself; what stands before it is inlined, innermost first.
        names = [f"{name}_[i]" for name in names[:-1]] + [names[-1] + marks[mappings[location.mapping_id]]]
        frames[location.id] = names
    folded = {}
    for sample in profile.sample:
        assert len(sample.value) == len(types)
        labels = {text[one.key]: text[one.str] if one.str else one.num for one in sample.label}
        task = labels["comm"]
        if "pid" in labels:
            task += f"-{labels['pid']}"
        if "tid" in labels:
            task += f"/{labels['tid']}"
        stack = [name for location in sample.location_id for name in frames[location]]
        key = ";".join([task] + stack[::-1])
        folded[key] = folded.get(key, 0) + sample.value[column]
    for key in sorted(folded):
        if folded[key]:
            print(key, folded[key])
    print(f"type {types[column][0]} {types[column][1]}", file=sys.stderr)
    print(f"period {profile.period} {text[profile.period_type.type]}", file=sys.stderr)
    print(f"default {text[profile.default_sample_type]}", file=sys.stderr)
    print(f"time {profile.time_nanos} {profile.duration_nanos}", file=sys.stderr)
    for comment in profile.comment:
        print(text[comment], file=sys.stderr)


main(*sys.argv[1:])
