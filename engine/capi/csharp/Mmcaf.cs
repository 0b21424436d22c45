// libmmcaf for C#: .NET 5 and newer, .NET Framework 4.7 and Mono. Compile this file and Native.cs into a program;
// what structs mean, who owns what and what threads may do stands in mmcaf.h.
//
//     using (var network = new Mmcaf.Network("lung.mmcaf"))
//     using (var result = network.Answer(new Mmcaf.Volume(hu, slices, rows, columns, 2.5, 0.7, 0.7), record))
//         Console.WriteLine(result.Decision + " " + result.Json);
//
// The library is looked for as the system does: on Linux in LD_LIBRARY_PATH and beside the program.

using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;

namespace Mmcaf
{
    /// <summary>The exit codes of the command line.</summary>
    public enum Code
    {
        Ok = 0, Bug = 1, Usage = 2, Study = 3, Record = 4, Bundle = 5, Backend = 6, Strict = 7, Deadline = 124,
        Cancelled = 130
    }

    /// <summary>What the library refused, and what to do next.</summary>
    public sealed class RefusedException : Exception
    {
        public Code Code { get; }
        public string Kind { get; }
        public string Problem { get; }
        public string Remedy { get; }
        public string Json { get; }

        internal RefusedException(Code code, Native.Error error) : base(Described(error))
        {
            Code = code;
            Kind = Utf8.Read(error.Kind);
            Problem = Utf8.Read(error.Problem);
            Remedy = Utf8.Read(error.Remedy);
            Json = Utf8.Read(error.Json);
        }

        internal static void Check(Code code)
        {
            if (code != Code.Ok)
                throw new RefusedException(code, Marshal.PtrToStructure<Native.Error>(Native.mmcaf_last_error()));
        }

        static string Described(Native.Error error)
        {
            return (Utf8.Read(error.Problem) + " " + Utf8.Read(error.Remedy)).Trim();
        }
    }

    /// <summary>How a bundle is opened; what is left alone is as the command line has it.</summary>
    public sealed class OpenOptions
    {
        public string Precision;
        public int Threads;
        public string Cache;
        public string TrustedKey;
        public string Kernels;
        public bool RequireKeptEngine;
        /// <summary>Level and message; never the patient's data.</summary>
        public Action<int, string> Log;
    }

    /// <summary>What the study's header says of the patient, and what is asked for.</summary>
    public sealed class AnswerOptions
    {
        public string PatientId, PatientSex, StudyUid, SeriesUid, FrameOfReferenceUid, Modality, BodyPart;
        public double PatientAgeYears = double.NaN, PatientWeightKg = double.NaN, DeadlineSeconds;
        public int FirstSlice, LastSlice, Stride;
        public bool AllowIdMismatch, Strict;
        public string Created;
        /// <summary>The DICOM image of each slice, in the volume's order, or none.</summary>
        public IReadOnlyList<Instance> Instances;
        /// <summary>Of the report, where the network reads one, with [CLS] and [SEP]; null: no report.</summary>
        public long[] Tokens;
        /// <summary>Stage, done and total; false ends the answer.</summary>
        public Func<string, long, long, bool> Progress;
    }

    /// <summary>The DICOM image that a slice was made from; Frame counts from 1, 0 of a single-frame image.</summary>
    public struct Instance
    {
        public string SopClassUid, SopInstanceUid;
        public int Frame;
    }

    /// <summary>What values are: Hounsfield units; after the rescale, in whatever unit; raw pixel values.</summary>
    public enum Intensity { Hounsfield = 0, Rescaled = 1, Stored = 2 }

    /// <summary>Voxels in memory: int16 or float, slice by slice toward the head.</summary>
    public sealed class Volume
    {
        internal readonly Array Values;
        internal readonly int Slices, Rows, Columns;
        internal readonly bool IsFloat;
        readonly double[] spacing;

        public string Input;
        public Intensity Intensity;
        /// <summary>Position of the first voxel in mm, LPS; and unit vectors along slices, rows and columns.</summary>
        public double[] Origin, Direction;

        public Volume(short[] values, int slices, int rows, int columns, double between, double down, double across)
            : this((Array)values, slices, rows, columns, between, down, across, false) { }

        public Volume(float[] values, int slices, int rows, int columns, double between, double down, double across)
            : this((Array)values, slices, rows, columns, between, down, across, true) { }

        /// <summary>Of a series whose slices arrive one by one, int16.</summary>
        public static Volume Series(int slices, int rows, int columns, double between, double down, double across)
        {
            return new Volume((Array)null, slices, rows, columns, between, down, across, false);
        }

        Volume(Array values, int slices, int rows, int columns, double between, double down, double across, bool isFloat)
        {
            if (values != null && values.Length != (long)slices * rows * columns)
                throw new ArgumentException(
                    $"{values.Length} values, {slices} slices of {rows} x {columns} were expected", nameof(values));
            Values = values;
            Slices = slices;
            Rows = rows;
            Columns = columns;
            IsFloat = isFloat;
            spacing = new[] { between, down, across };
        }

        internal Native.Volume ToNative(IntPtr values, Memory memory)
        {
            Native.Volume made;
            Native.mmcaf_volume_init(out made, Native.SizeOf<Native.Volume>());
            made.Input = memory.Text(Input, made.Input);
            made.Values = values;
            made.Type = IsFloat ? Native.Float32 : Native.Int16;
            made.Shape0 = (UIntPtr)Slices;
            made.Shape1 = (UIntPtr)Rows;
            made.Shape2 = (UIntPtr)Columns;
            made.Spacing = spacing;
            made.Intensity = (int)Intensity;
            if (Origin != null) made.Origin = Origin;
            if (Direction != null) made.Direction = Direction;
            return made;
        }
    }

    /// <summary>A bundle that is open. Several threads may use it at once: answers are made one after another.</summary>
    public sealed class Network : IDisposable
    {
        readonly Native.NetworkHandle handle;
        readonly Native.LogFunction log;  // The library calls it as long as the bundle is open.

        public Network(string bundle, OpenOptions options = null)
        {
            var given = options ?? new OpenOptions();
            if (given.Log != null)
                log = (user, level, message) =>
                {
                    try
                    {
                        given.Log(level, Utf8.Read(message));
                    }
                    catch (Exception)  // None may pass through the library, and an answer does not end for its log.
                    {
                    }
                };
            using (var memory = new Memory())
            {
                Native.OpenOptions made;
                Native.mmcaf_open_options_init(out made, Native.SizeOf<Native.OpenOptions>());
                made.Precision = memory.Text(given.Precision, made.Precision);
                made.Threads = given.Threads;
                made.Cache = memory.Text(given.Cache, made.Cache);
                made.TrustedKey = memory.Text(given.TrustedKey, made.TrustedKey);
                made.Kernels = memory.Text(given.Kernels, made.Kernels);
                made.RequireKeptEngine = given.RequireKeptEngine ? 1 : 0;
                made.Log = log;
                RefusedException.Check(Native.mmcaf_open(memory.Text(bundle, IntPtr.Zero), ref made, out handle));
            }
        }

        /// <summary>What was opened: name, version, inputs, outputs, labels, engine, self-test.</summary>
        public string Json => Utf8.Read(Native.mmcaf_network_json(handle));

        public Result Answer(Volume volume, string record, AnswerOptions options = null)
        {
            if (volume.Values == null) throw new ArgumentException("a series has no values", nameof(volume));
            var pinned = GCHandle.Alloc(volume.Values, GCHandleType.Pinned);
            try
            {
                return Answered(options, (memory, made) =>
                {
                    var native = volume.ToNative(pinned.AddrOfPinnedObject(), memory);
                    Native.ResultHandle result;
                    RefusedException.Check(Native.mmcaf_answer_volume(
                        handle, ref native, memory.Text(record, IntPtr.Zero), ref made, out result));
                    return result;
                });
            }
            finally
            {
                pinned.Free();
            }
        }

        /// <summary>Slices as they arrive: rows times columns values of each, by its index from 0; null ends it.</summary>
        public Result AnswerSeries(Volume series, Func<long, short[]> next, string record, AnswerOptions options = null)
        {
            Exception thrown = null;
            Native.SliceFunction fill = (user, index, slice) =>
            {
                try
                {
                    var values = next((long)index);
                    if (values == null) return 1;
                    if (values.Length != series.Rows * series.Columns)
                        throw new ArgumentException(
                            $"slice {index}: {values.Length} values, {series.Rows * series.Columns} were expected");
                    Marshal.Copy(values, 0, slice, values.Length);
                    return 0;
                }
                catch (Exception failure)  // None may pass through the library: it is thrown once that has returned.
                {
                    thrown = failure;
                    return 1;
                }
            };
            return Answered(options, (memory, made) =>
            {
                var native = series.ToNative(IntPtr.Zero, memory);
                Native.ResultHandle result;
                var code = Native.mmcaf_answer_series(
                    handle, ref native, fill, IntPtr.Zero, memory.Text(record, IntPtr.Zero), ref made, out result);
                GC.KeepAlive(fill);
                if (thrown != null) throw new InvalidOperationException("The next slice could not be given.", thrown);
                RefusedException.Check(code);
                return result;
            });
        }

        public void Dispose() => handle?.Dispose();

        static Result Answered(AnswerOptions options, Func<Memory, Native.AnswerOptions, Native.ResultHandle> call)
        {
            var given = options ?? new AnswerOptions();
            Exception thrown = null;
            Native.ProgressFunction progress = null;
            if (given.Progress != null)
                progress = (user, stage, done, total) =>
                {
                    try
                    {
                        return given.Progress(Utf8.Read(stage), (long)done, (long)total) ? 0 : 1;
                    }
                    catch (Exception failure)
                    {
                        thrown = failure;
                        return 1;
                    }
                };
            using (var memory = new Memory())
            {
                Native.AnswerOptions made;
                Native.mmcaf_answer_options_init(out made, Native.SizeOf<Native.AnswerOptions>());
                made.PatientId = memory.Text(given.PatientId, made.PatientId);
                made.PatientSex = memory.Text(given.PatientSex, made.PatientSex);
                made.PatientAgeYears = given.PatientAgeYears;
                made.PatientWeightKg = given.PatientWeightKg;
                made.StudyUid = memory.Text(given.StudyUid, made.StudyUid);
                made.SeriesUid = memory.Text(given.SeriesUid, made.SeriesUid);
                made.FrameOfReferenceUid = memory.Text(given.FrameOfReferenceUid, made.FrameOfReferenceUid);
                made.Modality = memory.Text(given.Modality, made.Modality);
                made.BodyPart = memory.Text(given.BodyPart, made.BodyPart);
                made.FirstSlice = given.FirstSlice;
                made.LastSlice = given.LastSlice;
                made.Stride = given.Stride;
                made.AllowIdMismatch = given.AllowIdMismatch ? 1 : 0;
                made.Strict = given.Strict ? 1 : 0;
                made.DeadlineSeconds = given.DeadlineSeconds;
                made.Created = memory.Text(given.Created, made.Created);
                made.Progress = progress;
                if (given.Instances != null && given.Instances.Count != 0)
                {
                    made.Instances = memory.Instances(given.Instances);
                    made.InstanceCount = (UIntPtr)given.Instances.Count;
                }
                if (given.Tokens != null && given.Tokens.Length != 0)
                {
                    made.Tokens = memory.Numbers(given.Tokens);
                    made.TokenCount = (UIntPtr)given.Tokens.Length;
                }
                try
                {
                    return new Result(call(memory, made));
                }
                catch (RefusedException) when (thrown != null)
                {
                    throw new InvalidOperationException("What follows the progress failed.", thrown);
                }
                finally
                {
                    GC.KeepAlive(progress);
                }
            }
        }
    }

    /// <summary>One answer.</summary>
    public sealed class Result : IDisposable
    {
        readonly Native.ResultHandle handle;

        internal Result(Native.ResultHandle handle) { this.handle = handle; }

        /// <summary>The label decided for; null of a network whose labels are independent.</summary>
        public string Decision => Utf8.Read(Native.mmcaf_result_decision(handle));

        /// <summary>As `mmcaf-infer --json` prints it.</summary>
        public string Json => Utf8.Read(Native.mmcaf_result_json(handle));

        public IReadOnlyDictionary<string, double> Probabilities
        {
            get
            {
                var found = new Dictionary<string, double>();
                for (ulong index = 0; index < (ulong)Native.mmcaf_result_label_count(handle); ++index)
                    found[Utf8.Read(Native.mmcaf_result_label(handle, (UIntPtr)index))] =
                        Native.mmcaf_result_probability(handle, (UIntPtr)index);
                return found;
            }
        }

        public IReadOnlyList<string> Warnings
        {
            get
            {
                var found = new List<string>();
                for (ulong index = 0; index < (ulong)Native.mmcaf_result_warning_count(handle); ++index)
                    found.Add(Utf8.Read(Native.mmcaf_result_warning(handle, (UIntPtr)index)));
                return found;
            }
        }

        public void Dispose() => handle.Dispose();
    }

    /// <summary>Text for one call of the library, freed after it.</summary>
    sealed class Memory : IDisposable
    {
        readonly List<IntPtr> taken = new List<IntPtr>();

        IntPtr Take(int bytes)
        {
            var place = Marshal.AllocHGlobal(bytes);
            taken.Add(place);
            return place;
        }

        internal IntPtr Numbers(long[] numbers)
        {
            var place = Take(checked(sizeof(long) * numbers.Length));
            Marshal.Copy(numbers, 0, place, numbers.Length);
            return place;
        }

        internal IntPtr Instances(IReadOnlyList<Instance> instances)
        {
            var size = Marshal.SizeOf(typeof(Native.Instance));
            var place = Take(checked(size * instances.Count));
            for (var at = 0; at < instances.Count; ++at)
            {
                var one = new Native.Instance
                {
                    SopClassUid = Text(instances[at].SopClassUid, IntPtr.Zero),
                    SopInstanceUid = Text(instances[at].SopInstanceUid, IntPtr.Zero), Frame = instances[at].Frame
                };
                Marshal.StructureToPtr(one, place + at * size, false);
            }
            return place;
        }

        internal IntPtr Text(string text, IntPtr otherwise)
        {
            if (text == null) return otherwise;
            var bytes = Encoding.UTF8.GetBytes(text + "\0");
            var place = Take(bytes.Length);
            Marshal.Copy(bytes, 0, place, bytes.Length);
            return place;
        }

        public void Dispose()
        {
            foreach (var place in taken) Marshal.FreeHGlobal(place);
            taken.Clear();
        }
    }

    static class Utf8
    {
        internal static string Read(IntPtr text)
        {
            if (text == IntPtr.Zero) return null;
            var length = 0;
            while (Marshal.ReadByte(text, length) != 0) ++length;
            var bytes = new byte[length];
            Marshal.Copy(text, bytes, 0, length);
            return Encoding.UTF8.GetString(bytes);
        }
    }
}
